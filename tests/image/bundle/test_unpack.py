"""From images to layers in a store: which trees there are, and that every kind of store shows the same files."""

import random
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt
from runjail.image import resolve
from runjail.image.bundle import unpack as unpacking
from runjail.image.content import copy
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Platform
from runjail.image.reference import parse
from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.image.images import Files, Layout, link
from tests.support.storage.facts import facts
from tests.support.storage.kinds import location, mounts  # noqa: F401  # a fixture
from tests.support.storage.layers import names

LINUX = Platform("linux", "amd64")
BASE: list[Files] = [{"etc/one": "1\n", "etc/two": "2\n"}, {"etc/.wh.one": "", "bin/sh": "#!"}, {"bin/more": "m"}]


@pytest.fixture
def store(location: str) -> Store:  # noqa: F811
    """An empty store."""
    return open_store(location, default="/nonexistent")


def have(content: ContentStore, layout: Layout, name: str, layers: Sequence[Files]) -> resolve.Image:
    """Make an image and copy it in."""
    layout.image(name, layers)
    copy.copy_in(LayoutSource(str(layout.path), name), content, f"docker.io/library/{name}:latest", platforms=None)
    found, top = resolve.find(content, parse(name))
    return resolve.load(content.read, found, top, [LINUX])


def unpack(image: resolve.Image, content: ContentStore, store: Store) -> str:
    """Unpack an image that is not encrypted. Returns its chainID."""
    return unpacking.unpack(image, unpacking.authorise(image, {}, {}), content, store).chain


@pytest.mark.needs("root")  # whose files those of the layers are
def test_a_layer_of_its_own_only_where_that_costs_nothing(store: Store, content: ContentStore, layout: Layout) -> None:
    first = have(content, layout, "first", [*BASE, {"app": "1"}])
    unpack(first, content, store)
    assert len(store.layers()) == (4 if store.apart else 1)
    second = have(content, layout, "second", [*BASE, {"app": "2"}, {"app2": "2"}])
    chain = unpack(second, content, store)

    assert len(store.layers()) == (6 if store.apart else 3), "what both have is there once for the next"
    root = Path(store.create_rootfs("web", chain))
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()) == [
        "app", "app2", "bin/more", "bin/sh", "etc/two",
    ]  # fmt: skip
    third = have(content, layout, "third", [*BASE, {"app": "3"}])
    unpack(third, content, store)
    assert len(store.layers()) == (7 if store.apart else 4)
    assert unpack(first, content, store) == unpack(first, content, store)


@pytest.mark.needs("root")  # whose files those of the layers are
def test_what_is_there_is_asked_for_once(store: Store, content: ContentStore, layout: Layout) -> None:
    image = have(content, layout, "first", BASE)
    chain = unpack(image, content, store)
    asked: list[str] = []

    class Asked:
        apart = store.apart

        def has_layer(self, chain: str, seal: object = None) -> bool:
            asked.append(chain)
            return store.has_layer(chain)

    assert unpack(image, content, Asked()) == chain  # type: ignore[arg-type]
    assert asked == [chain]


@pytest.mark.needs("root")  # whose files those of the layers are
def test_a_layer_that_fails_leaves_nothing_of_its_tree(store: Store, content: ContentStore, layout: Layout) -> None:
    image = have(content, layout, "first", [*BASE, {"app": "1"}])
    content.untag(image.name)
    before = names(store)
    wrong = image.config.replace(diff_ids=(*image.config.diff_ids[:3], f"sha256:{'0' * 64}"))
    with pytest.raises(Corrupt, match="instead of sha256:000"):
        unpack(image.replace(config=wrong), content, store)
    if not store.apart:
        assert names(store) == before
    assert unpack(image, content, store)
    assert len(store.layers()) == (4 if store.apart else 1)


# The same files in every kind of store ---------------------------------------------------------------------------

NAMES = ("a", "b", "c")


def some_layer(source: random.Random, below: set[str]) -> tuple[Files, set[str]]:
    """Return a layer of arbitrary entries, and which directories there may be afterwards."""
    files: Files = {}
    directories = {""} | below
    for _ in range(source.randrange(1, 9)):
        at = source.choice(sorted(directories))
        name = source.choice(NAMES)
        path = f"{at}/{name}".lstrip("/")
        kind = source.choice(("file", "file", "directory", "link", "whiteout", "opaque"))
        if kind == "file":
            files[path] = f"{source.random()}"
        elif kind == "directory":
            files[path] = _directory(source)
            directories.add(path)
        elif kind == "link":
            files[path] = link(source.choice(NAMES))
        elif kind == "whiteout":
            files[f"{at}/.wh.{name}".lstrip("/")] = ""
        elif at:
            files[f"{at}/.wh..wh..opq"] = ""
    return files, directories


def _directory(source: random.Random) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.mode, entry.uid = tarfile.DIRTYPE, source.choice((0o755, 0o700, 0o1777)), source.randrange(3)
    entry.mtime = source.randrange(1, 1 << 30)
    return entry


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """A directory in which mounts end with the test."""
    from runjail.storage import overlay_mount

    yield tmp_path
    for place in mounts(tmp_path):
        overlay_mount.unmount(place)


def without_now(found: dict[str, Any]) -> dict[str, Any]:
    """Return facts without the times of directories that no layer mentions."""
    recent = time.time_ns() - 3600 * 10**9
    return {path: (*kept[:3], kept[3] if kept[3] < recent else 0, *kept[4:]) for path, kept in found.items()}


@pytest.mark.needs("overlay")
@pytest.mark.parametrize("seed", range(12))
def test_overlays_show_what_plain_directories_hold(places: Path, seed: int) -> None:
    """Layers of arbitrary files, directories, links and whiteouts, applied to both."""
    source = random.Random(seed)
    below: set[str] = set()
    content, layers = ContentStore(str(places / "content")), list[Files]()
    for _ in range(4):
        files, below = some_layer(source, below)
        layers.append(files)
    image = have(content, Layout(places / "layout"), "some", layers)
    seen = []
    for kind in ("overlay", "dir"):
        store = open_store(f"{kind}:{places}/{kind}", default="")
        try:
            chain = unpack(image, content, store)
        except Corrupt as error:
            seen.append(str(error))
            continue
        seen.append(without_now(facts(Path(store.create_rootfs("web", chain)))))

    assert seen[0] == seen[1]
