"""Archives of `docker save`, of all ages: read, refused where they are hostile, and written."""

import bz2
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import ImageError, ImageNotFound
from runjail.image import media_types, model
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.docker_archive import DockerArchiveSink, DockerArchiveSource
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.layers import layer as layers
from tests.support.image.images import FREEBSD, Layout, compress, digest_of, link, take, tar

Archive = dict[str, Any]


# docker archives ---------------------------------------------------------------------------------------------------

LOWER, UPPER = tar({"a": "1" * 1000}), tar({"b": "2"})


def config_of(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    return json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]}, "rootfs": rootfs}).encode()


def saved(path: Path, files: Archive, layers: list[str], tags: "list[str] | None" = None, compression: str = "") -> str:
    """Write a docker archive of LOWER and UPPER."""
    entry = {"Config": "config.json", "RepoTags": tags, "Layers": layers}
    listing = {"config.json": config_of(LOWER, UPPER), "manifest.json": json.dumps([entry])}
    path.write_bytes(compress(tar(files | listing), compression))
    return str(path)


STYLES: dict[str, tuple[Archive, list[str]]] = {
    "directories, up to docker 24": ({"a/layer.tar": LOWER, "b/layer.tar": UPPER}, ["a/layer.tar", "b/layer.tar"]),
    "links, skopeo": (
        {"l.tar": LOWER, "u.tar": UPPER, "a/layer.tar": link("../l.tar"), "b/layer.tar": link("../u.tar")},
        ["a/layer.tar", "b/layer.tar"],
    ),
    "hard links": ({"l.tar": LOWER, "u.tar": UPPER, "v.tar": link("u.tar", tarfile.LNKTYPE)}, ["l.tar", "v.tar"]),
    "a layout beside, docker 25": (
        {
            "oci-layout": "{}",
            "index.json": "{}",
            f"blobs/sha256/{digest_of(LOWER)[7:]}": LOWER,
            f"blobs/sha256/{digest_of(UPPER)[7:]}": UPPER,
        },
        [f"blobs/sha256/{digest_of(LOWER)[7:]}", f"blobs/sha256/{digest_of(UPPER)[7:]}"],
    ),
}


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize("style", STYLES)
def test_docker_archives_of_all_ages(content: ContentStore, tmp_path: Path, style: str, compression: str) -> None:
    path = saved(tmp_path / "x", *STYLES[style], ["app:1"], compression)

    for tag in ("", "app:1", "docker.io/library/app:1"):
        manifest = take(DockerArchiveSource(path, tag), content)
        assert [layer.digest for layer in manifest.layers] == [digest_of(LOWER), digest_of(UPPER)]
        assert {layer.media_type for layer in manifest.layers} == {media_types.OCI_LAYER}
        assert content.read(manifest.config) == config_of(LOWER, UPPER)
    with pytest.raises(ImageNotFound):
        DockerArchiveSource(path, "app:2")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layers_that_somebody_compressed_are_known_by_content(
    content: ContentStore, tmp_path: Path, compression: str
) -> None:
    lower = compress(LOWER, compression)
    manifest = take(DockerArchiveSource(saved(tmp_path / "x", {"l": lower, "u": UPPER}, ["l", "u"])), content)

    assert manifest.layers[0].digest == digest_of(lower)
    assert manifest.layers[0].media_type == media_types.oci_layer(compression)


DOCKER_HOSTILE: dict[str, Callable[[Path], str]] = {
    "a layer is another": lambda path: saved(path, {"l": LOWER, "u": LOWER}, ["l", "u"]),
    "a layer climbs": lambda path: saved(path, {"l": LOWER, "u": link("../../etc/passwd")}, ["l", "u"]),
    "a layer is absolute": lambda path: saved(path, {"l": LOWER, "u": UPPER}, ["l", "/etc/passwd"]),
    "a layer is missing": lambda path: saved(path, {"l": LOWER}, ["l", "u"]),
    "too few layers": lambda path: saved(path, {"l": LOWER}, ["l"]),
    "too many layers": lambda path: saved(path, {"l": LOWER, "u": UPPER}, ["l", "u", "u"]),
    "layers are numbers": lambda path: saved(path, {}, [1, 2]),  # type: ignore[list-item]
    "links in a circle": lambda path: saved(path, {"l": link("u"), "u": link("l")}, ["l", "u"]),
}


@pytest.mark.needs("root")  # whose files those of the layers are
def test_layers_of_docker_save_s_first_years(content: ContentStore, tmp_path: Path) -> None:
    """In xz and bzip2, which have no media type: the content says it."""
    files = {"l": compress(LOWER, "xz"), "u": bz2.compress(UPPER)}

    manifest = take(DockerArchiveSource(saved(tmp_path / "a.tar", files, ["l", "u"])), content)

    assert [layer.media_type for layer in manifest.layers] == [media_types.oci_layer("")] * 2
    (tmp_path / "root").mkdir()
    for layer, plain in zip(manifest.layers, (LOWER, UPPER), strict=True):
        with content.reading(layer.digest) as blob:
            layers.unpack(blob, str(tmp_path / "root"), digest_of(plain))
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("name", DOCKER_HOSTILE)
def test_a_hostile_docker_archive_is_one_error(content: ContentStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        take(DockerArchiveSource(DOCKER_HOSTILE[name](tmp_path / "x")), content)

    assert "\n" not in str(caught.value)
    assert content.names() == {}


@pytest.mark.parametrize(
    "listing", ["", "{", "{}", "[1]", "[]", '[{"Config": 1}]', '[{"Config": "x", "Layers": 5}]', "[{}, {}]", "null"]
)
def test_a_garbled_manifest_json_is_one_error(tmp_path: Path, listing: str) -> None:
    (tmp_path / "x").write_bytes(tar({"manifest.json": listing}))

    with pytest.raises(ImageError, match="x"):
        DockerArchiveSource(str(tmp_path / "x"))


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_a_docker_archive_is_written_plain_and_comes_back(
    layout: Layout, content: ContentStore, tmp_path: Path, compression: str
) -> None:
    layout.image("n", [{"a": "1"}, {"b": "2"}, {"a": "1"}], compression=compression)
    was = model.parse_manifest(content.read(copy_in(LayoutSource(str(layout.path)), content, "n")))
    assert isinstance(was, model.Manifest)
    target = tmp_path / "out" / "x.tar"
    target.parent.mkdir()

    copy_out(content, "n", DockerArchiveSink(str(target), "example.org/app:1"))

    assert os.listdir(target.parent) == ["x.tar"]
    with tarfile.open(target) as found:
        entry = json.load(found.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        assert entry["RepoTags"] == ["example.org/app:1"]
        for name, diff_id in zip(
            entry["Layers"], model.parse_config(content.read(was.config), 3).diff_ids, strict=True
        ):
            assert digest_of(found.extractfile(name).read()) == diff_id  # type: ignore[union-attr]
        assert len(found.getnames()) == 4
    back = take(DockerArchiveSource(str(target), "example.org/app:1"), ContentStore(str(tmp_path / "back")))
    assert back.config.digest == was.config.digest


def test_what_a_docker_archive_cannot_hold_is_refused(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    plain = layout.image("plain")
    layout.index("index", [plain, layout.image(None, platform=FREEBSD)])
    layer = layout.blob(b"secret", media_types.oci_layer("gzip", encrypted=True))
    config = layout.document({"rootfs": {"type": "layers", "diff_ids": [digest_of(LOWER)]}}, media_types.OCI_CONFIG)
    layout.name("secret", layout.document(model.Manifest(config, (layer,)).document(), media_types.OCI_MANIFEST))
    layout.image("false", rootfs={"type": "layers", "diff_ids": [digest_of(LOWER)]})
    (tmp_path / "out").mkdir()

    for name, why in (("secret", "encrypted"), ("index", "one platform"), ("false", "not the config's")):
        copy_in(LayoutSource(str(layout.path), name), content, name)
        with pytest.raises(ImageError, match=why):
            copy_out(content, name, DockerArchiveSink(str(tmp_path / "out" / "x"), "t"))
        assert os.listdir(tmp_path / "out") == []


def test_one_of_several_is_named_by_its_place(content: ContentStore, tmp_path: Path) -> None:
    """As skopeo has it: an image without a name can be had in no other way."""
    entries = [
        {"Config": f"{n}.json", "RepoTags": tags, "Layers": [f"{n}.tar"]} for n, tags in ((0, ["a:1"]), (1, None))
    ]
    files: Archive = {"0.tar": LOWER, "1.tar": UPPER, "0.json": config_of(LOWER), "1.json": config_of(UPPER)}
    path = tmp_path / "two.tar"
    path.write_bytes(tar(files | {"manifest.json": json.dumps(entries)}))

    assert take(DockerArchiveSource(str(path), "@1"), content).layers[0].digest == digest_of(UPPER)
    for tag in ("", "@2"):
        with pytest.raises(ImageError, match="holds 2 images; name one: a:1, @1"):
            DockerArchiveSource(str(path), tag)
