"""Images out of the content: into layouts and archives, one platform or all, with other compression."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt, UsageError
from runjail.image import media_types, model
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.oci_archive import ArchiveSink, ArchiveSource
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.images import FREEBSD, LINUX, Layout, digest_of, need_zstd, tar
from tests.support.image.transfers import everything, source


def test_an_image_goes_into_a_layout_beside_others(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    top = layout.image("web")
    other = Layout(tmp_path / "other")
    there = other.image("there", [{"x": "y"}])
    copy_in(source(layout), content, "n")

    copy_out(content, "n", LayoutSink(str(other.path), "web:1"))

    found = ContentStore(str(other.path))
    assert {name: entry.digest for name, entry in found.names().items()} == {"there": there.digest, "web:1": top.digest}
    assert everything(found, top)
    assert sorted(os.listdir(other.path)) == ["blobs", "index.json", "oci-layout"]


def test_an_index_goes_out_with_all_platforms_or_one(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    linux, freebsd = layout.image(None), layout.image(None, platform=FREEBSD)
    index = layout.index("both", [linux, freebsd])
    copy_in(source(layout), content, "n")

    copy_out(content, "n", LayoutSink(str(tmp_path / "all")))
    copy_out(content, "n", LayoutSink(str(tmp_path / "one")), platforms=[FREEBSD])

    assert LayoutSource(str(tmp_path / "all")).top().digest == index.digest
    assert LayoutSource(str(tmp_path / "one")).top().digest == freebsd.digest
    assert not ContentStore(str(tmp_path / "one")).has(linux.digest)


@pytest.mark.parametrize(("kind", "level"), [("gzip", None), ("gzip", 9), ("zstd", None), ("zstd", 19), ("none", None)])
def test_layers_are_recompressed_and_the_config_stays(
    layout: Layout, content: ContentStore, tmp_path: Path, kind: str, level: int | None
) -> None:
    if kind == "zstd":
        need_zstd()
    old = layout.image(None, [{"a": "1" * 5000}, {"b": "2"}], compression="" if kind == "gzip" else "gzip")
    layout.index("n", [old])
    copy_in(source(layout), content, "n")
    before = set(content.digests())

    top = copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression=kind, level=level)

    out = ContentStore(str(tmp_path / "out"))
    index = model.parse_manifest(out.read(top))
    assert isinstance(index, model.Index)
    assert index.manifests[0].platform == LINUX
    new, was = (model.parse_manifest(place.read(entry)) for place, entry in ((out, index.manifests[0]), (content, old)))
    assert isinstance(new, model.Manifest)
    assert isinstance(was, model.Manifest)
    assert new.config == was.config
    assert {layer.media_type for layer in new.layers} == {media_types.oci_layer("" if kind == "none" else kind)}
    config = model.parse_config(out.read(new.config), 2)
    from runjail.image.layers.compression import decompress

    for layer, diff_id in zip(new.layers, config.diff_ids, strict=True):
        assert digest_of(b"".join(decompress(out.blob(layer)))) == diff_id
    assert everything(out, top)
    assert set(content.digests()) == before, "the new layers do not stay in the store"


def test_layers_in_that_compression_already_stay_as_they_are(
    layout: Layout, content: ContentStore, tmp_path: Path
) -> None:
    top = layout.image("web")
    copy_in(source(layout), content, "n")

    assert copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression="gzip").digest == top.digest


def test_encrypted_layers_pass_untouched_through_recompression(
    layout: Layout, content: ContentStore, tmp_path: Path
) -> None:
    plain, secret = tar({"a": "1"}), os.urandom(700)
    sealed = layout.blob(secret, media_types.oci_layer("gzip", encrypted=True)).replace(
        annotations={"org.opencontainers.x": "y"}
    )
    config = layout.document({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers",
        "diff_ids": [digest_of(plain), digest_of(b"?")]}}, media_types.OCI_CONFIG)  # fmt: skip
    layers = [layout.blob(plain, media_types.OCI_LAYER), sealed]
    manifest = model.Manifest(config, tuple(layers))
    layout.name("n", layout.document(manifest.document(), media_types.OCI_MANIFEST))
    copy_in(source(layout), content, "n")

    top = copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression="gzip")

    written = model.parse_manifest(ContentStore(str(tmp_path / "out")).read(top))
    assert isinstance(written, model.Manifest)
    assert written.layers[1] == sealed.replace(data=written.layers[1].data)
    assert written.layers[0].media_type == media_types.oci_layer("gzip")


def test_pointers_into_the_old_blob_are_dropped_and_docker_types_become_oci_ones(
    layout: Layout, content: ContentStore, tmp_path: Path
) -> None:
    data = tar({"a": "1"})
    pointers = {"containerd.io/snapshot/stargz/toc.digest": "sha256:x", "kept": "yes"}
    layer = layout.blob(gzip.compress(data), media_types.DOCKER_LAYER + ".gzip").replace(annotations=pointers)
    config = layout.document({"rootfs": {"type": "layers", "diff_ids": [digest_of(data)]}}, media_types.DOCKER_CONFIG)
    manifest = model.Manifest(config, (layer,), media_types.DOCKER_MANIFEST)
    layout.name("n", layout.document(manifest.document(), media_types.DOCKER_MANIFEST))
    copy_in(source(layout), content, "n")

    top = copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression="none")

    written = model.parse_manifest(ContentStore(str(tmp_path / "out")).read(top))
    assert isinstance(written, model.Manifest)
    assert (top.media_type, written.config.media_type) == (media_types.OCI_MANIFEST, media_types.OCI_CONFIG)
    assert written.layers[0].annotations == {"kept": "yes"}


def test_a_layer_that_is_not_its_diff_id_is_not_recompressed(
    layout: Layout, content: ContentStore, tmp_path: Path
) -> None:
    layout.image("n", rootfs={"type": "layers", "diff_ids": [digest_of(b"something else")]})
    copy_in(source(layout), content, "n")
    before = set(content.digests())

    with pytest.raises(Corrupt, match="not the config's"):
        copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression="none")

    assert not (tmp_path / "out").exists()
    assert set(content.digests()) == before


@pytest.mark.parametrize(("kind", "level"), [("brotli", None), ("gzip", 10), ("zstd", 23)])
def test_a_wrong_compression_is_refused_before_anything(
    layout: Layout, content: ContentStore, tmp_path: Path, kind: str, level: int | None
) -> None:
    layout.image("n")
    copy_in(source(layout), content, "n")

    with pytest.raises(UsageError):
        copy_out(content, "n", LayoutSink(str(tmp_path / "out")), compression=kind, level=level)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["new", "used", "archive"])
def test_an_error_on_the_way_out_leaves_nothing(
    layout: Layout, content: ContentStore, tmp_path: Path, kind: str
) -> None:
    layout.image("n", [{"a": "1"}, {"b": "2"}])
    top = copy_in(source(layout), content, "n")
    manifest = model.parse_manifest(content.read(top))
    assert isinstance(manifest, model.Manifest)
    data = Path(content.path(manifest.layers[1].digest))
    data.write_bytes(bytes(data.stat().st_size))  # the disk of the store has gone bad
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x"
    if kind == "used":
        other = Layout(target)
        other.image("there", [{"a": "1"}, {"z": "2"}])
    before = sorted(tmp_path.joinpath("out").rglob("*"))

    def sink() -> Any:
        return ArchiveSink(str(target), "t") if kind == "archive" else LayoutSink(str(target), "t")

    with pytest.raises(Corrupt):
        copy_out(content, "n", sink())

    assert [path for path in sorted(tmp_path.joinpath("out").rglob("*")) if path not in before] == []
    assert sorted(tmp_path.joinpath("out").rglob("*")) == before


@pytest.mark.parametrize("sink", [LayoutSink, ArchiveSink])
def test_an_interrupted_copy_out_leaves_nothing(
    layout: Layout, content: ContentStore, tmp_path: Path, sink: Any
) -> None:
    layout.image("n", [{"a": "1"}])
    copy_in(source(layout), content, "n")
    (tmp_path / "out").mkdir()

    def interrupt(_blob: Descriptor, _count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_out(content, "n", sink(str(tmp_path / "out" / "x")), progress=interrupt)
    assert os.listdir(tmp_path / "out") == []


def test_what_goes_out_to_an_archive_comes_back_the_same(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    index = layout.index("n", [layout.image(None, [{"a": os.urandom(3000)}]), layout.image(None, platform=FREEBSD)])
    copy_in(source(layout), content, "n")

    copy_out(content, "n", ArchiveSink(str(tmp_path / "out.tar"), "example.org/web:1"))

    archive = ArchiveSource(str(tmp_path / "out.tar"), "example.org/web:1")
    back = ContentStore(str(tmp_path / "back"))
    assert copy_in(archive, back, "n").digest == index.digest
    archive.close()
    assert everything(back, index) == everything(content, index)
