"""A root file system becomes an image: equal trees equal bytes, and nothing is lost that a layer can hold."""

import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail.errors import Corrupt, ImageError, UsageError
from runjail.image import media_types, model
from runjail.image.content.import_rootfs import make_image
from runjail.image.content.store import ContentStore
from runjail.image.layers import tar_directory, tar_writer
from runjail.image.layers.compression import decompress
from runjail.image.layers.tar import Reader
from runjail.image.model import Descriptor, Platform
from tests.support.image.images import FREEBSD, compress, digest_of, need_zstd, tar

ROOT = os.geteuid() == 0


def plant(tree: Path) -> Path:
    """Make a tree with one of everything."""
    (tree / "sub" / ("d" * 120)).mkdir(parents=True)
    (tree / "a").write_bytes(b"first")
    (tree / "sub" / "b").hardlink_to(tree / "a")
    (tree / "l").symlink_to("/absolute/" + "x" * 150)
    (tree / "ümlaut").write_text("")
    os.mkfifo(tree / "pipe")
    (tree / "empty").mkdir(mode=0o700)
    (tree / "a").chmod(0o4711)
    (tree / os.fsdecode(b"not-\xff-utf8")).write_bytes(bytes(1000))
    for path in tree.rglob("*"):
        os.utime(path, ns=(1, 1_600_000_000_123_456_789), follow_symlinks=False)
    os.utime(tree / "empty", ns=(1, -1_500_000_000))
    os.utime(tree, ns=(1, 1_700_000_000_000_000_000))
    return tree


def archive_of(tree: Path) -> bytes:
    return b"".join(tar_directory.stream(str(tree)))


def test_a_tree_is_written_as_tars_of_all_kinds_read_it(tmp_path: Path) -> None:
    data = archive_of(plant(tmp_path / "tree"))

    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        found = {entry.name: entry for entry in archive}
        assert archive.extractfile("a").read() == b"first"  # type: ignore[union-attr]
    assert next(iter(found)) == "."
    assert found["a"].mode == 0o4711
    assert (found["sub/b"].type, found["sub/b"].linkname) == (tarfile.LNKTYPE, "a")
    assert found["l"].linkname == "/absolute/" + "x" * 150
    assert found["pipe"].isfifo()
    assert found["empty"].mode == 0o700
    assert float(found["empty"].mtime) == -1.5
    assert found["sub/" + "d" * 120].isdir()
    assert {"ümlaut", os.fsdecode(b"not-\xff-utf8")} <= set(found)
    times = {entry.name: entry.mtime for entry in Reader([data])}
    assert times[b"a"] == 1_600_000_000_123_456_789


@pytest.mark.needs("root")
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_a_tree_comes_back_from_tar_as_it_was(tmp_path: Path, program: str) -> None:
    """GNU tar and libarchive: owner, mode, time to the nanosecond, links."""
    tree = plant(tmp_path / "tree")
    os.chown(tree / "a", 12345, 3_000_000_000)
    (tree / "a").chmod(0o4711)
    os.lchown(tree / "l", 7, 8)
    os.utime(tree, ns=(1, 1_700_000_000_000_000_000))
    back = tmp_path / "back"
    back.mkdir()
    try:
        command = [program, "--numeric-owner", "-xpf", "-", "-C", str(back)]
        env = {**os.environ, "LC_ALL": "C.UTF-8"}  # libarchive writes names in the letters of the locale
        ran = subprocess.run(command, input=archive_of(tree), check=False, capture_output=True, env=env)
    except FileNotFoundError:
        pytest.skip(f"needs {program}")
    if b"Failed to set default locale" in ran.stderr:
        pytest.skip("needs the locale C.UTF-8")
    assert ran.returncode == 0, ran.stderr

    def facts(top: Path) -> dict[str, Any]:
        found = {str(path.relative_to(top)): path.lstat() for path in [top, *top.rglob("*")]}
        return {name: (s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_nlink) for name, s in found.items()}

    expected, found = facts(tree), facts(back)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    libarchive = "libarchive" in version
    if libarchive:  # leaves the time of the directory it stands in, and reads fractions before 1970 upwards
        for name in (".", "empty"):
            expected[name], found[name] = expected[name][:3], found[name][:3]
    assert found == expected
    assert os.readlink(back / "l") == os.readlink(tree / "l")
    assert libarchive or archive_of(back) == archive_of(tree)


def test_equal_trees_make_equal_images(tmp_path: Path, content: ContentStore) -> None:
    made = [
        make_image(str(plant(tmp_path / name)), content, name, platform=FREEBSD, cmd=["/bin/sh"], compression="gzip")
        for name in ("one", "two")
    ]

    assert made[0] == made[1]
    assert set(content.names()) == {"one", "two"}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_image_of_a_tree(tmp_path: Path, content: ContentStore, compression: str) -> None:
    if compression == "zstd":
        need_zstd()
    tree, told = plant(tmp_path / "tree"), 0

    def progress(_what: Descriptor, count: int) -> None:
        nonlocal told
        told += count

    host = Platform("freebsd", "arm64", os_version="15.1-RELEASE")
    top = make_image(str(tree), content, "n", platform=host, cmd=["/bin/sh", "-l"], entrypoint=["/init"], env=["A=b"],
                     compression=compression, progress=progress)  # fmt: skip

    manifest = model.parse_manifest(content.read(top))
    assert isinstance(manifest, model.Manifest)
    config = model.parse_config(content.read(manifest.config), 1)
    assert config.platform == Platform("freebsd", "arm64"), "the kernel's release says nothing about the tree"
    assert (config.run("Cmd"), config.run("Entrypoint"), config.run("Env")) == (["/bin/sh", "-l"], ["/init"], ["A=b"])
    layer = manifest.layers[0]
    assert layer.media_type == media_types.oci_layer("" if compression == "none" else compression)
    assert digest_of(b"".join(decompress(content.blob(layer)))) == config.diff_ids[0] == digest_of(archive_of(tree))
    assert told == len(archive_of(tree))
    assert content.find("n").digest == top.digest


@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd"])
def test_a_tar_file_becomes_the_layer_as_it_is(tmp_path: Path, content: ContentStore, compression: str) -> None:
    """FreeBSD's base.txz."""
    data = tar({"./bin": None, "./bin/sh": "shell"})
    (tmp_path / "base").write_bytes(compress(data, compression))

    top = make_image(str(tmp_path / "base"), content, "n", platform=FREEBSD)

    manifest = model.parse_manifest(content.read(top))
    assert isinstance(manifest, model.Manifest)
    assert model.parse_config(content.read(manifest.config), 1).diff_ids == (digest_of(data),)
    assert manifest.layers[0].media_type == media_types.oci_layer("gzip")


@pytest.mark.parametrize(
    "data", [b"", b"no tar at all" * 100, compress(tar({"a": "1" * 9000}), "gzip")[:-50], bytes(10240)]
)
def test_what_is_no_tar_file_is_one_error_and_leaves_nothing(
    tmp_path: Path, content: ContentStore, data: bytes
) -> None:
    (tmp_path / "x").write_bytes(data)

    with pytest.raises(Corrupt, match=str(tmp_path / "x")):
        make_image(str(tmp_path / "x"), content, "n", platform=FREEBSD)
    assert content.digests() == []
    assert not list(Path(content.directory).glob("ingest/*"))


def test_mistakes_are_one_error_and_leave_nothing(tmp_path: Path, content: ContentStore) -> None:
    tree = plant(tmp_path / "tree")
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (ImageError, {"env": ["A"]}), (ImageError, {"env": ["=b"]}), (ImageError, {"cmd": ["a\0b"]}),
        (UsageError, {"compression": "brotli"}), (UsageError, {"level": 10}),
    ]  # fmt: skip
    for kind, arguments in wrong:
        with pytest.raises(kind):
            make_image(str(tree), content, "n", platform=FREEBSD, **arguments)
    with pytest.raises(ImageError, match="does not exist"):
        make_image(str(tmp_path / "absent"), content, "n", platform=FREEBSD)
    assert content.digests() == []


def test_a_name_that_would_remove_files_is_refused(tmp_path: Path, content: ContentStore) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / ".wh.passwd").write_text("")

    with pytest.raises(ImageError, match=r"sub/\.wh\.passwd"):
        make_image(str(tmp_path / "tree"), content, "n", platform=FREEBSD)
    assert content.digests() == []


def test_what_no_layer_holds_is_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tree, os.O_RDONLY)
        before = os.open(".", os.O_RDONLY)
        os.fchdir(here)
        try:
            listening.bind("s")
        finally:
            os.fchdir(before)
            os.close(here)
            os.close(before)
        if ROOT and sys.platform == "linux":
            os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert [entry.name for entry in Reader([archive_of(tree)])] == [b"./"]


@pytest.mark.needs("linux", "mounts")
def test_other_file_systems_are_left_out(tmp_path: Path) -> None:
    """The devfs of a jail that runs, or a mount of the host's home, is no part of an image."""
    tree = tmp_path / "tree"
    (tree / "dev").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tree / "dev")], check=True)
    try:
        (tree / "dev" / "secret").write_text("x")
        (tree / "dev" / "sub").mkdir()
        assert [entry.name for entry in Reader([archive_of(tree)])] == [b"./", b"dev/"]
    finally:
        subprocess.run(["umount", str(tree / "dev")], check=True)


def test_a_file_that_grows_meanwhile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "grows").write_bytes(bytes(3 << 20))

    with pytest.raises(ImageError, match="grows changed while"):
        for count, _ in enumerate(tar_directory.stream(str(tmp_path))):
            if count == 2:
                with open(tmp_path / "grows", "ab") as file:
                    file.write(b"more")


def test_extended_attributes_travel(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_text("")
    value = b"\0\n=\xff binary"
    try:
        os.setxattr(tmp_path / "tree" / "f", "user.runjail", value)
    except (AttributeError, OSError):
        pytest.skip("needs extended attributes of users here")

    entries = {entry.name: dict(entry.xattrs) for entry in Reader([archive_of(tmp_path / "tree")])}
    assert entries[b"f"] == {b"user.runjail": value}


@settings(max_examples=60)
@given(
    name=st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"\0", b"_").replace(b"/", b"|") + b"!"),
    link=st.binary(min_size=1, max_size=200).map(lambda name: name.replace(b"\0", b"_")),
    ids=st.tuples(st.integers(0, (1 << 32) - 2), st.integers(0, (1 << 32) - 2)),
    size=st.sampled_from([0, 1, 511, 512, 513]),
    mtime=st.integers(-(1 << 62), 1 << 62),
    xattrs=st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary(max_size=120)),
)
def test_what_is_written_is_what_is_read(
    name: bytes, link: bytes, ids: tuple[int, int], size: int, mtime: int, xattrs: dict[bytes, bytes]
) -> None:
    uid, gid = ids
    data = tar_writer.header(name, mode=0o640, uid=uid, gid=gid, size=size, mtime=mtime, xattrs=xattrs)
    data += bytes(size) + tar_writer.padding(size)
    data += tar_writer.header(name, tar_writer.SYMLINK, link=link, mtime=mtime) + tar_writer.END
    assert len(data) % 512 == 0

    first, second = Reader([data])

    assert (first.name, first.uid, first.gid, first.size, first.mtime) == (name, uid, gid, size, mtime)
    assert {key: value for key, value in xattrs.items() if value} == {k: v for k, v in first.xattrs.items() if v}
    assert (second.name, second.link) == (name, link)


def test_a_file_of_nine_gigabytes_has_a_header_that_says_so() -> None:
    reader = iter(Reader([tar_writer.header(b"big", size=9 << 30)]))

    assert next(reader).size == 9 << 30
