"""Layers that are unpacked while others arrive, and that are hashed once by who has fetched them."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import Corrupt, RegistryError
from runjail.image import model, resolve
from runjail.image.bundle import unpack as unpacking
from runjail.image.content import copy
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.layers import layer as layers
from runjail.image.model import Descriptor
from runjail.image.reference import parse
from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.image.bundle.test_unpack import LINUX
from tests.support.image.images import Files, Layout, digest_of
from tests.support.leaks import Held
from tests.support.program import FREEBSD
from tests.support.storage.kinds import location, mounts  # noqa: F401  # a fixture

pytestmark = pytest.mark.needs("root")  # whose files those of the layers are
LONGEST = 120.0  # seconds that a loaded machine may need
LAYERS: list[Files] = [{"etc/one": "1\n"}, {"etc/.wh.one": "", "bin/sh": "#!"}, {"bin/more": "m"}]


@pytest.fixture
def store(location: str) -> Store:  # noqa: F811
    """An empty store."""
    return open_store(location, default="/nonexistent")


class Slow(LayoutSource):
    """Where an image comes from. before: called with the number of each layer before it comes. asked: those.

    endless: the number of a layer that never comes.
    """

    def __init__(self, layout: Layout, before: Callable[[int], None], endless: int = -1) -> None:
        super().__init__(str(layout.path), "web")
        found = model.parse_manifest(self.document(self.top()))
        assert isinstance(found, model.Manifest)
        self.layers = [layer.digest for layer in found.layers]
        self.before, self.endless, self.asked = before, endless, list[int]()

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        if descriptor.digest in self.layers:
            number = self.layers.index(descriptor.digest)
            self.asked.append(number)
            self.before(number)
            while number == self.endless:
                time.sleep(0.001)
                yield b""
        yield from super().blob(descriptor, offset)


def bring(source: Slow, content: ContentStore, store: Store, done: Callable[[int], None], jobs: int = 3) -> str:
    """Copy an image in and unpack it meanwhile. done: called with the number of each layer that is unpacked."""
    chains: list[str] = []

    def use(top: Descriptor, arrived: copy.Arrived) -> None:
        def read(descriptor: Descriptor) -> bytes:
            arrived(descriptor.digest)
            return content.read(descriptor)

        def progress(layer: Descriptor, _count: int) -> None:
            done(source.layers.index(layer.digest))

        image = resolve.load(read, "web", top, [LINUX])
        opened = unpacking.authorise(image, {}, {})
        chains.append(unpacking.unpack(image, opened, content, store, progress=progress, arrived=arrived).chain)

    copy.copy_in(source, content, "web", platforms=[LINUX], jobs=jobs, meanwhile=use)
    return chains[0]


def left(store: Store) -> list[str]:
    """Return what is half made: a sweep finds it, when whoever made it has gone."""
    return store.sweep()


def test_a_layer_is_unpacked_before_the_next_has_arrived(store: Store, content: ContentStore, layout: Layout) -> None:
    layout.image("web", LAYERS)
    unpacked = [threading.Event() for _ in LAYERS]

    def before(number: int) -> None:
        if number:
            assert unpacked[number - 1].wait(LONGEST), "it is waited for the layer below, which is there"

    chain = bring(Slow(layout, before), content, store, lambda number: unpacked[number].set())

    root = Path(store.create_rootfs("c", chain))
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == ["bin/more", "bin/sh"]
    assert list(content.names()) == ["web"]
    assert left(store) == []


def test_the_error_of_a_download_is_the_one_that_is_told(store: Store, content: ContentStore, layout: Layout) -> None:
    """Nothing half made is left, in the store or of its threads, and a second try goes on from there."""
    layout.image("web", LAYERS)
    first, before_it = threading.Event(), Held()

    def before(number: int) -> None:
        if number == 2:
            assert first.wait(LONGEST)
            raise RegistryError("the line is dead")

    with pytest.raises(RegistryError, match="the line is dead"):
        bring(Slow(layout, before), content, store, lambda number: first.set())

    assert content.names() == {}
    assert left(store) == []
    assert len(store.layers()) in ((1, 2) if store.apart else (0,))
    assert before_it.more() == []
    bring(Slow(layout, lambda _number: None), content, store, lambda _number: None)
    assert len(store.layers()) == (3 if store.apart else 1)


def test_a_layer_that_cannot_be_unpacked_ends_the_download(store: Store, content: ContentStore, layout: Layout) -> None:
    wrong = {"type": "layers", "diff_ids": [digest_of(b"other"), *[digest_of(b"more")] * 2]}
    layout.image("web", LAYERS, rootfs=wrong)
    source = Slow(layout, lambda _number: None, endless=1)

    with pytest.raises(Corrupt, match="instead of") as raised:
        bring(source, content, store, lambda _number: None, jobs=1)

    assert source.layers[0] in str(raised.value)
    assert source.asked == [0, 1]
    assert content.names() == {}
    assert left(store) == []
    assert store.layers() == []


def test_ctrl_c_while_a_layer_is_waited_for(store: Store, content: ContentStore, layout: Layout) -> None:
    layout.image("web", LAYERS)
    first = threading.Event()

    def before(number: int) -> None:
        if number == 2:
            assert first.wait(LONGEST)

    def interrupted(_number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(Slow(layout, before), content, store, interrupted)
    first.set()

    assert content.names() == {}
    assert left(store) == []


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The blobs that are hashed before they are unpacked."""
    seen: list[str] = []
    verify = layers.verify

    def counted(file: int, descriptor: Descriptor) -> None:
        seen.append(descriptor.digest)
        verify(file, descriptor)

    monkeypatch.setattr(layers, "verify", counted)
    return seen


def test_what_this_process_has_fetched_is_not_hashed_again(
    store: Store, content: ContentStore, layout: Layout, hashed: list[str]
) -> None:
    """But for UFS, which may set ctime a moment after a rename (ContentStore.is_verified)."""
    layout.image("web", LAYERS)

    source = Slow(layout, lambda _number: None)

    bring(source, content, store, lambda _number: None)

    assert set(hashed) <= (set(source.layers) if FREEBSD else set())


def test_what_another_process_has_fetched_is_hashed(
    store: Store, content: ContentStore, layout: Layout, hashed: list[str]
) -> None:
    layout.image("web", LAYERS)
    source = Slow(layout, lambda _number: None)
    copy.copy_in(source, ContentStore(content.directory), "web", platforms=[LINUX])

    bring(source, content, store, lambda _number: None)

    assert hashed == source.layers


@pytest.mark.parametrize("how", ["written to", "replaced"])
def test_a_blob_that_somebody_has_changed_meanwhile_is_hashed(
    store: Store, content: ContentStore, layout: Layout, hashed: list[str], how: str
) -> None:
    """With its old times, as who wants that would set them."""
    layout.image("web", LAYERS)
    copy.copy_in(LayoutSource(str(layout.path), "web"), content, "web", platforms=[LINUX])
    name, top = resolve.find(content, parse("web")) if "web" in content.names() else ("web", content.find("web"))
    image = resolve.load(content.read, name, top, [LINUX])
    victim = Path(content.path(image.manifest.layers[1].digest))
    before, data = victim.stat(), bytearray(victim.read_bytes())
    data[-5] ^= 1
    if how == "replaced":
        victim.unlink()
    victim.write_bytes(data)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(Corrupt, match="its content has the digest"):
        unpacking.unpack(image, unpacking.authorise(image, {}, {}), content, store)

    assert (hashed[-1:] if FREEBSD else hashed) == [image.manifest.layers[1].digest]
    assert left(store) == []
