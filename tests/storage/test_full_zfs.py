"""A pool or dataset that is full or read-only: one clear error, and nothing half made."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import StorageError
from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.storage.layers import A, B, add, names
from tests.support.zfs_pool import zfs

pytestmark = pytest.mark.needs("zfs")
MANY = 200  # pieces of 100 kB: more than there is room for


@pytest.fixture
def store(dataset: str) -> Store:
    """A store with one layer."""
    store = open_store(f"zfs:{dataset}", default="")
    add(store, A, {"a": "a" * 1000})
    return store


@pytest.fixture(params=["quota", "pool"])
def full(request: pytest.FixtureRequest, store: Store, dataset: str) -> Iterator[tuple[str, str]]:
    """Leave 5 MB of room, to the store or in the pool, where another has the rest. Yields what to set for an end."""
    if request.param == "quota":
        zfs("set", "quota=5M", dataset)
        yield "quota=none", dataset
        return
    pool, other = dataset.partition("/")[0], f"{dataset}-other"
    left = int(zfs("get", "-Hp", "-o", "value", "available", pool))
    zfs("create", "-o", f"refreservation={left - (5 << 20)}", other)
    try:
        yield "refreservation=none", other
    finally:
        zfs("destroy", other)


def fill(store: Store) -> None:
    """Make a layer that does not fit, as the code that applies layers does."""
    draft = store.draft(B, A)
    assert draft
    with draft:
        try:
            for number in range(MANY):
                with open(f"{draft.path}/f{number}", "wb") as file:
                    file.write(os.urandom(100_000))
                    os.fsync(file.fileno())  # ZFS counts what is on the disk
        except OSError as error:
            raise StorageError(f"unpacking: {error.strerror}") from error
        draft.commit()


def test_a_layer_that_does_not_fit(store: Store, full: tuple[str, str]) -> None:
    before = names(store)
    with pytest.raises(StorageError, match=r"No space left|[Qq]uota exceeded"):
        fill(store)

    assert names(store) == before
    assert store.sweep() == []
    zfs("set", *full)
    add(store, B, {"b": "b"}, A)
    assert Path(store.create_rootfs("web", B), "b").read_text() == "b"


def test_a_store_that_became_read_only(store: Store, dataset: str) -> None:
    zfs("set", "readonly=on", dataset)
    again = open_store(f"zfs:{dataset}", default="")
    assert [layer.chain for layer in again.layers()] == [A]
    before = names(store)
    for act in (lambda: again.draft(B, A), lambda: again.create_rootfs("web", A), lambda: again.remove_root("web")):
        with pytest.raises(StorageError, match="read-only"):
            act()
        assert names(store) == before
    zfs("set", "readonly=off", dataset)

    assert store.sweep() == []
    assert Path(store.create_rootfs("web", A), "a").read_text() == "a" * 1000
