"""Archives of images, ours and hostile ones: what is read is verified, and nothing is written but below our store."""

import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt, ImageError, ImageNotFound
from runjail.image import model
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.docker_archive import DockerArchiveSource
from runjail.image.content.oci_archive import ArchiveSink, ArchiveSource
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.content.tar_index import TarIndex
from tests.support.image.images import FREEBSD, Layout, freebsd_official, link, take, tar
from tests.support.leaks import Held

Archive = dict[str, Any]


# OCI archives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd"])
def test_an_oci_archive_in_any_compression(
    layout: Layout, content: ContentStore, tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    top = layout.image("web:1", [{"a": os.urandom(70_000)}, {"b": "2"}])
    layout.image("other", [{"c": "3"}])
    path = layout.archive(tmp_path / "archive", compression)

    archive = ArchiveSource(str(path), "web:1")
    assert archive.top().digest == top.digest
    take(archive, content)

    assert content.find("n").digest == top.digest
    assert list((tmp_path / "tmp").iterdir()) == [], "what was unpacked has no name"


def test_freebsds_own_images(content: ContentStore, tmp_path: Path) -> None:
    """make-oci-image.sh: xz, no platform in the index, lower-case `cmd`."""
    manifest = take(ArchiveSource(str(freebsd_official(tmp_path))), content, "docker.io/library/freebsd-runtime:15.0")
    config = model.parse_config(content.read(manifest.config), len(manifest.layers))

    assert config.run("Cmd") == ["/bin/sh"]
    assert config.platform == FREEBSD


def test_an_image_has_to_be_named_where_there_are_several(layout: Layout, tmp_path: Path) -> None:
    layout.image("a", [{"a": "1"}])
    layout.image("b", [{"b": "1"}])
    path = str(layout.archive(tmp_path / "archive"))

    with pytest.raises(ImageError, match="holds 2 images; name one: a, b"):
        ArchiveSource(path).top()
    with pytest.raises(ImageNotFound, match="c"):
        ArchiveSource(path, "c").top()


def test_an_archive_is_written_whole_or_not_at_all(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    layout.image("n")
    top = copy_in(LayoutSource(str(layout.path)), content, "n")
    target = tmp_path / "out" / "x.tar"
    target.parent.mkdir()

    sink = ArchiveSink(str(target), "t")
    assert not target.exists()
    sink.abort()
    assert os.listdir(target.parent) == []
    sink = ArchiveSink(str(target), "t")
    with pytest.raises(ImageError, match="nothing was written"):
        sink.close()
    sink.abort()
    copy_out(content, "n", ArchiveSink(str(target), "t"))
    with pytest.raises(ImageError, match="exists"):
        ArchiveSink(str(target), "t")
    with tarfile.open(target) as found:
        names = found.getnames()
    assert len(names) == len(set(names)) == 7
    assert names[:2] == ["blobs", "blobs/sha256"], "skopeo of an ordinary user needs them"
    assert ArchiveSource(str(target)).top().digest == top.digest
    with pytest.raises(ImageError, match="cannot write"):
        ArchiveSink(str(tmp_path / "absent" / "x.tar"), "t")


# Hostile archives --------------------------------------------------------------------------------------------------


def _entries(layout: Layout, change: Callable[[Archive], Archive]) -> bytes:
    files: Archive = {}
    for path in sorted(layout.path.rglob("*")):
        if path.is_file():
            files[str(path.relative_to(layout.path))] = path.read_bytes()
    return tar(change(files))


def _device(_target: str = "") -> tarfile.TarInfo:
    info = link("", tarfile.CHRTYPE)
    info.devmajor, info.devminor = 1, 5
    return info


HARMLESS: dict[str, Callable[[Archive], Archive]] = {
    "climbing names": lambda files: {"../../escape": "x", "/etc/escape": "x", "a/../../b": "x"} | files,
    "links outside that nobody asks for": lambda files: {"up": link("../../../etc"), "up/passwd": "x"} | files,
    "device nodes": lambda files: {"dev": _device()} | files,
    "a fifo": lambda files: {"pipe": link("", tarfile.FIFOTYPE)} | files,
    "dots in names": lambda files: {f"././{name}": data for name, data in files.items()},
    "a loop of links": lambda files: {"a": link("b"), "b": link("a")} | files,
    "a file that becomes a directory": lambda files: {"blobs": "file"} | files,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_an_archive_says_besides_changes_nothing(
    layout: Layout, content: ContentStore, tmp_path: Path, name: str
) -> None:
    top = layout.image("n")
    (tmp_path / "x").write_bytes(_entries(layout, HARMLESS[name]))
    before = sorted(tmp_path.rglob("*"))

    take(ArchiveSource(str(tmp_path / "x")), content)

    assert content.find("n").digest == top.digest
    outside = [path for path in sorted(tmp_path.rglob("*")) if not path.is_relative_to(content.directory)]
    assert [path for path in before if not path.is_relative_to(content.directory)] == outside


def _swap(name: str, entry: Any) -> Callable[[Archive], Archive]:
    return lambda files: {key: entry if key == name else data for key, data in files.items()}


def _layer_swap(entry: Any) -> Callable[[Archive], Archive]:
    """Change the biggest blob: the layer."""
    return lambda files: _swap(max(files, key=lambda key: len(files[key]) * key.startswith("blobs")), entry)(files)


HOSTILE: dict[str, Callable[[Archive], Archive]] = {
    "index.json is a link outside": _swap("index.json", link("/etc/passwd")),
    "index.json climbs": _swap("index.json", link("../../../../etc/passwd")),
    "index.json is a loop": _swap("index.json", link("index.json")),
    "index.json is a device": _swap("index.json", _device()),
    "index.json is a directory": _swap("index.json", None),
    "index.json is garbage": _swap("index.json", b"\xff{"),
    "index.json is huge": _swap("index.json", b"[" * (9 << 20)),
    "no index.json": lambda files: {name: data for name, data in files.items() if name != "index.json"},
    "no oci-layout": lambda files: {name: data for name, data in files.items() if name != "oci-layout"},
    "another version": _swap("oci-layout", '{"imageLayoutVersion": "9"}'),
    "a blob is a link outside": _layer_swap(link("/etc/passwd")),
    "a blob is a hard link outside": _layer_swap(link("/etc/passwd", tarfile.LNKTYPE)),
    "a blob is other content": _layer_swap(b"other"),
    "a blob is a directory": _layer_swap(None),
    "a later duplicate is other content": lambda files: files | {"./" + max(
        files, key=lambda key: len(files[key]) * key.startswith("blobs")): b"other"},
    "a name of 200 kB": lambda files: {"x/" * 600_000 + "y": "long"} | files,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_one_error(layout: Layout, content: ContentStore, tmp_path: Path, name: str) -> None:
    layout.image("n", [{"a": os.urandom(3000)}], compression="")
    (tmp_path / "x").write_bytes(_entries(layout, HOSTILE[name]))

    with pytest.raises(ImageError) as caught:
        take(ArchiveSource(str(tmp_path / "x"), "n"), content)

    assert "\n" not in str(caught.value)
    assert content.names() == {}
    assert not list(Path(content.directory).glob("ingest/*"))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("compression", ["", "xz", "gzip"])
def test_a_truncated_archive_is_one_error(
    layout: Layout, content: ContentStore, tmp_path: Path, part: float, compression: str
) -> None:
    layout.image("n", [{"a": os.urandom(90_000)}])
    data = layout.archive(tmp_path / "x", compression).read_bytes()
    (tmp_path / "x").write_bytes(data[: int(len(data) * part)])

    with pytest.raises(ImageError):
        take(ArchiveSource(str(tmp_path / "x"), "n"), content)
    assert content.names() == {}


@pytest.mark.parametrize("data", [b"", b"\0" * 10240, b"not a tar" * 200, b"\x1f\x8b\x08garbage", lzma.compress(b"")])
def test_what_is_no_archive_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)

    for kind in (ArchiveSource, DockerArchiveSource):
        with pytest.raises(ImageError) as caught:
            kind(str(tmp_path / "x")).top()
        assert str(tmp_path / "x") in str(caught.value)


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    """Its place in the archive is not what its size says."""
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=index\n27 GNU.sparse.realsize=512\n"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, kind, data in (("pax", tarfile.XHDTYPE, records), ("x", tarfile.REGTYPE, b"0\n".ljust(512, b"\0"))):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "x").write_bytes(out.getvalue())

    with pytest.raises(Corrupt, match="sparse files have no place"):
        TarIndex(str(tmp_path / "x"))


def test_members_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    files = {
        "a/x": "1",
        "l1": link("a/./x"),
        "a/l2": link("../l1"),
        "l3": link("a/l2", tarfile.LNKTYPE),
        "l4": link("l3"),
    }
    (tmp_path / "x").write_bytes(tar(files))
    members = TarIndex(str(tmp_path / "x"))
    try:
        assert [members.part(name).all(9) for name in ("a/x", "l1", "a/l2", "l3", "l4")] == [b"1"] * 5
        for name in ("absent", "a", "../x", "/a/x"):
            with pytest.raises(FileNotFoundError):
                members.part(name)
    finally:
        members.close()


def test_a_file_replaces_the_link_before_it_and_a_link_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(tar({"a": link("b"), "b": "old", "./a": "new", "c": "file", "./c": link("b")}))
    members = TarIndex(str(tmp_path / "x"))
    try:
        assert [members.part(name).all(9) for name in ("a", "b", "c")] == [b"new", b"old", b"old"]
    finally:
        members.close()


def test_a_member_that_is_cut_off_is_an_error_even_if_nobody_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(tar({"a": "1", "b": "2" * 5000})[:4000])

    with pytest.raises(Corrupt, match="ends too early"):
        TarIndex(str(tmp_path / "x"))


def test_archives_do_not_leak_descriptors(layout: Layout, tmp_path: Path) -> None:
    layout.image("n")
    good = str(layout.archive(tmp_path / "good", "xz"))
    (tmp_path / "bad").write_bytes(b"x" * 2000)
    before = Held()

    for _ in range(3):
        ArchiveSource(good).close()
        with pytest.raises(ImageError):
            ArchiveSource(str(tmp_path / "bad"))
        with pytest.raises(ImageError):
            DockerArchiveSource(good)

    assert before.more() == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x")

    with pytest.raises(ImageError, match="not a regular file"):
        ArchiveSource(str(tmp_path / "x"))
