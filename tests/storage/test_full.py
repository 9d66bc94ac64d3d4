"""A file system that is full, out of inodes or read-only: one clear error, and nothing half made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import StorageError
from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.storage.kinds import DIRECTORIES, small_disk
from tests.support.storage.layers import A, B, add, names

pytestmark = pytest.mark.needs("mounts", "linux")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB and 300 inodes."""
    yield from small_disk(tmp_path, "2m", 300)


def fill(store: Store, how: str) -> None:
    """Make a layer that does not fit, as the code that applies layers does."""
    draft = store.draft(B, A)
    assert draft
    with draft:
        try:
            for number in range(400):
                Path(draft.path, f"f{number}").write_bytes(b"x" * (20_000 if how == "bytes" else 0))
        except OSError as error:
            raise StorageError(f"unpacking: {error.strerror}") from error
        draft.commit()


@pytest.mark.parametrize("kind", DIRECTORIES)
@pytest.mark.parametrize("how", ["bytes", "inodes"])
def test_a_layer_that_does_not_fit(small: Path, kind: str, how: str) -> None:
    store = open_store(f"{kind}:{small}/store", default="")
    add(store, A, {"a": "a" * 1000})
    before = names(store)
    with pytest.raises(StorageError, match="No space left"):
        fill(store, how)

    assert names(store) == before
    assert store.sweep() == []
    add(store, B, {"b": "b"}, A)
    assert Path(store.create_rootfs("web", B), "b").read_text() == "b"


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_root_that_does_not_fit(small: Path, kind: str) -> None:
    store = open_store(f"{kind}:{small}/store", default="")
    add(store, A, {f"f{number}": "" for number in range(150)})
    for number in range(os.statvfs(small).f_ffree - 4):
        (small / f"other{number}").write_text("")
    before = names(store)
    with pytest.raises(StorageError, match="no space left"):
        for number in range(200):
            store.create_rootfs(f"web{number}", A)

    assert [name for name in names(store) if name not in before] == []
    assert store.roots() == []


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_store_that_became_read_only(small: Path, kind: str) -> None:
    location = f"{kind}:{small}/store"
    store = open_store(location, default="")
    add(store, A, {"a": "a"})
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert [layer.chain for layer in open_store(location, default="").layers()] == [A]
    for act in (lambda: store.draft(B, A), lambda: store.create_rootfs("web", A), lambda: store.remove_root("web")):
        with pytest.raises(StorageError, match="read-only"):
            act()
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)

    assert store.sweep() == []
    assert Path(store.create_rootfs("web", A), "a").read_text() == "a"
