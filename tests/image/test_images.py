"""Which images a name leads to, whatever else an index holds, and what gets no name at all."""

import os
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageNotFound
from runjail.image import media_types, resolve
from runjail.image.bundle.verified import VerifiedLayers
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.docker_archive import DockerArchiveSink
from runjail.image.content.oci_archive import ArchiveSink, ArchiveSource
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.layers.limits import Limits
from runjail.image.model import Descriptor, Platform
from runjail.image.platform import DEEPEST
from tests.support.image.images import FREEBSD, LINUX, Layout

CHART = "application/vnd.cncf.helm.config.v1+json"


def chart(layout: Layout, platform: Platform | None = None) -> Descriptor:
    """Add a manifest of something that is no image."""
    config = layout.document({}, CHART)
    body = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config.document(), "layers": []}
    return layout.document(body, media_types.OCI_MANIFEST).replace(platform=platform)


def test_an_index_holds_more_than_images(layout: Layout, content: ContentStore) -> None:
    """Charts, signatures and attestations are kept, and are no images; none of them spoils the list of images."""
    linux, freebsd = layout.image(None), layout.image(None, platform=FREEBSD)
    attestation = chart(layout, Platform("unknown", "unknown"))
    inner = layout.index(None, [freebsd, chart(layout)])
    top = layout.index("t", [linux, attestation, inner, linux])
    copy_in(LayoutSource(str(layout.path), "t"), content, "name")

    found = resolve.every(content.read, "name", content.find("name"))
    assert [image.descriptor.digest for image in found] == [linux.digest, freebsd.digest]
    assert all(image.top.digest == top.digest for image in found)
    assert content.has(attestation.digest)


def test_indexes_that_repeat_themselves_are_read_once(layout: Layout) -> None:
    """Each level names the next one twice: 2**40 ways lead to the image."""
    top = layout.image(None)
    for _ in range(40):
        top = layout.index(None, [top, top])
    source = LayoutSource(str(layout.path))

    assert len(resolve.every(source.document, "name", top)) == 1


def test_indexes_nest_so_deep_and_no_deeper(layout: Layout, content: ContentStore) -> None:
    top = layout.image(None)
    for _ in range(DEEPEST):
        top = layout.index(None, [top])
    layout.name("fine", top)
    layout.name("deep", layout.index(None, [top]))
    for number in range(1000):
        top = layout.index(None, [top, top.replace(annotations={"n": str(number)})])
    layout.name("abyss", top)

    copy_in(LayoutSource(str(layout.path), "fine"), content, "fine")
    for tag in ("deep", "abyss"):
        with pytest.raises(Corrupt, match=r"nested deeper than \d+ levels"):
            copy_in(LayoutSource(str(layout.path), tag), content, tag)
    assert list(content.names()) == ["fine"]


@pytest.mark.parametrize("config", ["{}", '{"rootfs": {"type": "layers", "diff_ids": ["sha256:1"]}}', "[]", "{"])
def test_what_is_no_image_gets_no_name(layout: Layout, content: ContentStore, config: str) -> None:
    """A name that leads to something unreadable would stop every verb that looks at all names."""
    described = layout.blob(config.encode(), media_types.OCI_CONFIG)
    body = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": described.document(), "layers": []}
    layout.name("t", layout.document(body, media_types.OCI_MANIFEST))

    with pytest.raises(Corrupt):
        copy_in(LayoutSource(str(layout.path), "t"), content, "name")
    assert content.names() == {}


def test_of_an_index_not_everything_has_to_be_here(layout: Layout) -> None:
    here, gone = layout.image(None), layout.image(None, platform=FREEBSD)
    top = layout.index("t", [here, gone])
    layout.file(gone.digest).unlink()
    read = LayoutSource(str(layout.path)).document

    assert [image.config.platform for image in resolve.every(read, "name", top)] == [LINUX]
    layout.file(top.digest).unlink()
    with pytest.raises(ImageNotFound):
        resolve.every(read, "name", top)


@pytest.mark.parametrize("word", ["\\ud800", "\\udc80", "\\ud800\\u0041"])
def test_half_a_surrogate_pair_is_no_text(layout: Layout, word: str) -> None:
    """It could be read, but never be written again: not into config.json, not onto a terminal."""
    top = layout.image(None, run={"Cmd": ["WORD"]})
    manifest = resolve.every(LayoutSource(str(layout.path)).document, "name", top)[0].manifest
    spoiled = layout.blob(layout.file(manifest.config.digest).read_bytes().replace(b"WORD", word.encode()))
    config = spoiled.replace(media_type=media_types.OCI_CONFIG)
    top = layout.document(manifest.replace(config=config).document(), media_types.OCI_MANIFEST)

    with pytest.raises(Corrupt, match="surrogates not allowed"):
        resolve.every(LayoutSource(str(layout.path)).document, "name", top)


def test_a_bomb_ends_before_the_disk_is_full(
    layout: Layout, content: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever something is decompressed, not only where layers are unpacked: nothing is left of what was written."""
    monkeypatch.setattr(Limits, "bounds", lambda _limits: {"limit": 1 << 20, "ratio": 10, "allowance": 1 << 16})
    top = layout.image("t", [{"zeros": b"\0" * (1 << 19)}])
    layout.blob(b"\0" * (1 << 19))
    archive = layout.archive(tmp_path / "layout.txz", "xz")
    copy_in(LayoutSource(str(layout.path), "t"), content, "name")
    image = resolve.every(content.read, "name", top)[0]
    before = set(content.digests())

    with pytest.raises(Corrupt, match="grows more than 10-fold"):
        copy_out(content, "name", DockerArchiveSink(f"{tmp_path}/docker.tar"))
    with pytest.raises(Corrupt, match="grows more than 10-fold"):
        copy_out(content, "name", ArchiveSink(f"{tmp_path}/oci.tar"), compression="none")
    with pytest.raises(Corrupt, match="grows more than 10-fold"):
        VerifiedLayers(content).require(image.manifest.layers[0], image.config.diff_ids[0], None)
    with pytest.raises(Corrupt, match="grows more than 10-fold"):
        ArchiveSource(str(archive))
    assert set(content.digests()) == before
    assert sorted(os.listdir(tmp_path)) == ["content", "layout", "layout.txz"]


def test_each_document_is_read_once(layout: Layout) -> None:
    """Also the top one, which may be an index or the manifest itself."""
    source, seen = LayoutSource(str(layout.path)), list[str]()
    manifest = layout.image("one")
    index = layout.index("many", [manifest, layout.image(None, platform=FREEBSD)])

    def read(descriptor: Descriptor) -> bytes:
        seen.append(descriptor.digest)
        return source.document(descriptor)

    for top in (manifest, index):
        config = resolve.load(read, "name", top, [LINUX]).manifest.config
        assert seen == [*([top.digest] if top is index else []), manifest.digest, config.digest]
        seen.clear()
    resolve.every(read, "name", index)
    assert len(seen) == len(set(seen)) == 5
