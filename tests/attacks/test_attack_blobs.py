"""Blobs of the store that are damaged, by a disk or on purpose, without a change of size.

They are refused wherever they are read, with what to do about it; a pull or import brings what is whole again, and does
not fetch what is. The image that is repaired then unpacks.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import Corrupt
from runjail.image import model, resolve
from runjail.image.bundle.unpack import unpack
from runjail.image.content import encrypt
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.docker_archive import DockerArchiveSink
from runjail.image.content.oci_archive import ArchiveSink
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.recompress import recompress
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from runjail.storage.directory import DirectoryStore
from tests.support.image.images import Layout

REMEDY = "it is fetched again by runjail image pull"
TIMES = ["new times", "old times"]  # whether the damage can be seen in the file's times: a disk's cannot


class Counting(LayoutSource):
    """Where the image comes from. asked: how often for each blob."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(str(layout.path), "web")
        self.asked: Counter[str] = Counter()

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.asked[descriptor.digest] += 1
        return super().blob(descriptor, offset)


class Stored:
    """An image in a store, and where it came from."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "layout")
        self.layout.image("web", [{"hello": "world\n" * 500}, {"more": "x"}])
        self.content = ContentStore(str(directory / "content"))
        self.top = copy_in(Counting(self.layout), self.content, "web")
        manifest = model.parse_manifest(self.content.read(self.top))
        assert isinstance(manifest, model.Manifest)
        self.layer, self.config = manifest.layers[0], manifest.config

    def damage(self, blob: Descriptor, times: str) -> None:
        """Change one byte of a blob."""
        path = Path(self.content.path(blob.digest))
        before = path.stat()
        with open(path, "r+b") as file:
            file.seek(blob.size // 2)
            byte = file.read(1)
            file.seek(blob.size // 2)
            file.write(bytes([byte[0] ^ 1]))
        if times == "old times":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def pull(self) -> Counter[str]:
        """Bring the image in again, and return how often each blob was fetched."""
        source = Counting(self.layout)
        copy_in(source, self.content, "web")
        return source.asked


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_nothing_is_damaged(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: what is whole is not fetched again, and not read either."""
    monkeypatch.setattr(ContentStore, "intact", lambda _content, digest: pytest.fail(f"{digest} is read"))
    assert stored.pull() == {}


def test_a_blob_of_before(stored: Stored) -> None:
    """What an earlier release stored has no mark: it is read once, and not fetched."""
    os.utime(stored.content.path(stored.layer.digest), ns=(0, 0))
    assert stored.pull() == {}
    assert os.stat(stored.content.path(stored.layer.digest)).st_mtime > 1e9


@pytest.mark.parametrize("which", ["layer", "config"])
def test_a_pull_replaces_what_was_written_to(stored: Stored, which: str) -> None:
    """Without anybody having noticed before."""
    blob: Descriptor = getattr(stored, which)
    stored.damage(blob, "new times")

    assert stored.pull() == {blob.digest: 1}
    assert stored.content.intact(blob.digest)
    assert stored.pull() == {}


USES: dict[str, Callable[[Stored, Path], object]] = {
    "archive": lambda stored, path: copy_out(stored.content, "web", ArchiveSink(str(path), "web")),
    "docker archive": lambda stored, path: copy_out(stored.content, "web", DockerArchiveSink(str(path), "web:1")),
    "layout": lambda stored, path: copy_out(stored.content, "web", LayoutSink(str(path), "web")),
    "recompress": lambda stored, _path: recompress(stored.content, stored.top, "none", None, set()),
}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("use", USES)
def test_uses(stored: Stored, tmp_path: Path, use: str, times: str) -> None:
    stored.damage(stored.layer, times)

    with pytest.raises(Corrupt) as caught:
        USES[use](stored, tmp_path / "out")
    assert REMEDY in str(caught.value.hint)
    assert stored.pull() == {stored.layer.digest: 1}
    USES[use](stored, tmp_path / "out")


@pytest.mark.parametrize("times", TIMES)
def test_a_document(stored: Stored, times: str) -> None:
    """The manifest and the config are verified whenever they are read."""
    for document in (stored.top, stored.config):
        stored.damage(document, times)
        with pytest.raises(Corrupt) as caught:
            stored.content.read(document)
        assert REMEDY in str(caught.value.hint)
        stored.pull()
        assert stored.content.read(document)


@pytest.mark.parametrize("times", TIMES)
def test_damage_does_not_become_genuine(stored: Stored, times: str) -> None:
    """Encrypting a layer puts an HMAC on it, which says that it is as its writer had it."""
    pytest.importorskip("cryptography", reason="needs cryptography")
    from tests.support.image import key_fixtures

    keys = encrypt.CryptoConfig({}, {"pubkeys": (key_fixtures.rsa_pair().public,)}, {})
    stored.damage(stored.layer, times)
    before = set(stored.content.digests())

    with stored.content.lease(), pytest.raises(Corrupt) as caught:
        encrypt.encrypt(stored.content, stored.top, keys)
    assert REMEDY in str(caught.value.hint)
    assert set(stored.content.digests()) == before

    stored.pull()
    with stored.content.lease():
        assert encrypt.encrypt(stored.content, stored.top, keys).digest != stored.top.digest


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners: needs root")
@pytest.mark.parametrize("times", TIMES)
def test_unpacking(stored: Stored, tmp_path: Path, times: str) -> None:
    """No layer comes of it; after a pull it does."""
    store = DirectoryStore(str(tmp_path / "store"))
    image = resolve.every(stored.content.read, "web", stored.top)[0]
    stored.damage(stored.layer, times)

    with pytest.raises(Corrupt) as caught:
        unpack(image, [None, None], stored.content, store)
    assert REMEDY in str(caught.value.hint)
    assert store.layers() == []

    assert stored.pull() == {stored.layer.digest: 1}
    chain = unpack(image, [None, None], stored.content, store).chain
    root = store.create_rootfs("web", chain)
    assert Path(root, "hello").read_text(encoding="utf-8") == "world\n" * 500


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners: needs root")
def test_a_layer_that_has_to_be_proven(stored: Stored, tmp_path: Path) -> None:
    """Its files are there; its blob, with which the image shows that it holds it, is damaged."""
    store = DirectoryStore(str(tmp_path / "store"))
    image = resolve.every(stored.content.read, "web", stored.top)[0]
    unpack(image, [None, None], stored.content, store)
    for proof in Path(stored.content.directory, "proofs").iterdir():
        proof.unlink()
    stored.damage(stored.layer, "old times")

    with pytest.raises(Corrupt) as caught:
        unpack(image, [None, None], stored.content, store)
    assert REMEDY in str(caught.value.hint)
    assert stored.pull() == {stored.layer.digest: 1}
    unpack(image, [None, None], stored.content, store)
