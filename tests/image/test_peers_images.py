"""What skopeo, umoci and podman write we read, and what we write they read: byte for byte where the format allows."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from runjail.image import model
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.docker_archive import DockerArchiveSink, DockerArchiveSource
from runjail.image.content.import_rootfs import make_image
from runjail.image.content.oci_archive import ArchiveSink, ArchiveSource
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.store import ContentStore
from tests.support.image.images import FREEBSD, LINUX, Layout, freebsd_official, link

FORMS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "layout": ("oci:{}:t", LayoutSource, LayoutSink),
    "oci-archive": ("oci-archive:{}:t", ArchiveSource, ArchiveSink),
    "docker-archive": ("docker-archive:{}:localhost/t:1", DockerArchiveSource, DockerArchiveSink),
}
LAYERS = [
    {"etc": None, "etc/passwd": "root:x:0:0::/root:/bin/sh\n", "big": os.urandom(200_000)},
    {"etc/hostname": "x\n", "l": link("etc/passwd")},
    {"etc": None},
]


def skopeo(directory: Path, *words: str) -> str:
    """Run skopeo, which accepts any image here; for FreeBSD's it has to be told."""
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    command = ["skopeo", "--policy", str(policy), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def take(source: Any, content: ContentStore) -> tuple[model.Manifest, bytes]:
    """Copy an image in; return its manifest and its config."""
    try:
        top = copy_in(source, content, "n")
    finally:
        source.close()
    manifest = model.parse_manifest(content.read(top))
    assert isinstance(manifest, model.Manifest)
    return manifest, content.read(manifest.config)


@pytest.mark.peers("skopeo")
@pytest.mark.parametrize("form", FORMS)
def test_what_skopeo_writes_we_read(tmp_path: Path, content: ContentStore, form: str) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("a", LAYERS)
    name, source, _ = FORMS[form]
    skopeo(tmp_path, "copy", f"oci:{layout.path}:a", name.format(tmp_path / "theirs"))

    manifest, config = take(source(str(tmp_path / "theirs"), name.split(":", 2)[2]), content)

    original = LayoutSource(str(layout.path))
    was = model.parse_manifest(original.document(original.top()))
    assert isinstance(was, model.Manifest)
    if form != "docker-archive":
        assert manifest.document() == was.document()
    assert model.parse_config(config, 3).diff_ids == model.parse_config(original.document(was.config), 3).diff_ids


@pytest.mark.peers("skopeo")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", ["", "zstd", "none"])
def test_what_we_write_skopeo_reads(tmp_path: Path, content: ContentStore, form: str, compression: str) -> None:
    """skopeo verifies digests, and diffIDs of docker archives, when it copies."""
    layout = Layout(tmp_path / "layout")
    layout.image("a", LAYERS)
    _, config = take(LayoutSource(str(layout.path)), content)
    name, _, sink = FORMS[form]
    ours = name.format(tmp_path / "ours")
    copy_out(content, "n", sink(str(tmp_path / "ours"), name.split(":", 2)[2]), compression=compression)

    found = json.loads(skopeo(tmp_path, "inspect", ours))
    skopeo(tmp_path, "copy", ours, f"oci:{tmp_path / 'back'}:t")

    assert (found["Os"], len(found["Layers"])) == ("linux", 3)
    assert json.loads(skopeo(tmp_path, "inspect", "--config", "--raw", ours)) == json.loads(config)
    _, again = take(LayoutSource(str(tmp_path / "back")), ContentStore(str(tmp_path / "again")))
    assert model.parse_config(again, 3).diff_ids == model.parse_config(config, 3).diff_ids


@pytest.mark.peers("skopeo")
def test_an_index_of_ours_is_one_for_skopeo(tmp_path: Path, content: ContentStore) -> None:
    layout = Layout(tmp_path / "layout")
    layout.index("a", [layout.image(None, LAYERS), layout.image(None, platform=FREEBSD)])
    copy_in(LayoutSource(str(layout.path)), content, "n")
    copy_out(content, "n", ArchiveSink(str(tmp_path / "ours"), "t"))

    words = ("--override-os", "freebsd", "--override-arch", "amd64")
    assert json.loads(skopeo(tmp_path, *words, "inspect", f"oci-archive:{tmp_path / 'ours'}:t"))["Os"] == "freebsd"
    skopeo(tmp_path, "copy", "--all", f"oci-archive:{tmp_path / 'ours'}:t", f"oci:{tmp_path / 'all'}:t")
    assert LayoutSource(str(tmp_path / "all"), "t").top().digest == content.find("n").digest


@pytest.mark.peers("skopeo")
def test_the_stores_own_content_is_a_layout_for_skopeo(tmp_path: Path, content: ContentStore) -> None:
    """Nobody is locked in: names and blobs are where others look for them."""
    copy_in(ArchiveSource(str(freebsd_official(tmp_path))), content, "docker.io/library/freebsd:15.0")

    words = ("--override-os", "freebsd", "--override-arch", "amd64", "inspect")
    found = json.loads(skopeo(tmp_path, *words, f"oci:{content.directory}:docker.io/library/freebsd:15.0"))
    assert found["Os"] == "freebsd"


@pytest.mark.peers("umoci")
@pytest.mark.needs("root")
def test_umoci_unpacks_what_we_make_of_a_tree(tmp_path: Path, content: ContentStore) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_bytes(os.urandom(5000))
    (tree / "sub" / "hard").hardlink_to(tree / "sub" / "file")
    (tree / "link").symlink_to("sub/file")
    os.chown(tree / "sub" / "file", 1000, 2000)
    (tree / "sub" / "file").chmod(0o4750)
    for path in (tree / "sub" / "file", tree / "link", tree / "sub", tree):
        os.utime(path, ns=(1, 1_600_000_000_123_456_789), follow_symlinks=False)
    make_image(str(tree), content, "n", platform=LINUX)
    copy_out(content, "n", LayoutSink(str(tmp_path / "ours"), "t"))

    words = ["umoci", "unpack", "--image", f"{tmp_path / 'ours'}:t", str(tmp_path / "bundle")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    back = tmp_path / "bundle" / "rootfs"
    for path in [tree, *tree.rglob("*")]:
        was, now = path.lstat(), (back / path.relative_to(tree)).lstat()
        facts = [(s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns) for s in (was, now)]
        assert facts[0] == facts[1], path


@pytest.mark.peers("umoci")
def test_what_umoci_makes_we_read(tmp_path: Path, content: ContentStore) -> None:
    for words in (
        ["init", "--layout", "l"],
        ["new", "--image", "l:t"],
        ["config", "--image", "l:t", "--config.cmd", "x"],
    ):
        subprocess.run(["umoci", *words], cwd=tmp_path, check=True, capture_output=True)

    _, config = take(LayoutSource(str(tmp_path / "l"), "t"), content)
    assert model.parse_config(config, 0).run("Cmd") == ["x"]


@pytest.mark.peers("podman")
@pytest.mark.needs("root")
def test_podman_loads_ours_and_saves_for_us(tmp_path: Path, content: ContentStore) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("a", LAYERS)
    _, config = take(LayoutSource(str(layout.path)), content)
    copy_out(content, "n", DockerArchiveSink(str(tmp_path / "ours"), "localhost/t:1"))
    with TemporaryDirectory(prefix="rj", dir="/tmp") as short:  # podman takes 50 characters

        def podman(*words: str) -> str:
            storage = ["--root", f"{short}/p", "--runroot", f"{short}/r", "--storage-driver", "vfs"]
            done = subprocess.run(
                ["podman", *storage, *words], capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "localhost/t:1" in podman("load", "-i", str(tmp_path / "ours"))
        for form, source in (("docker-archive", DockerArchiveSource), ("oci-archive", ArchiveSource)):
            podman("save", "--format", form, "-o", str(tmp_path / form), "localhost/t:1")
            _, saved = take(source(str(tmp_path / form)), content)
            assert model.parse_config(saved, 3).diff_ids == model.parse_config(config, 3).diff_ids
