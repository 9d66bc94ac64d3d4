"""Copying between trees that others may change: where things go, and what never happens."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt, ImageError
from runjail.image.layers import cp, tar_directory
from runjail.image.layers.cp import Place

pytestmark = pytest.mark.needs("root")


class Trees:
    """A source and a target, each a root of its own."""

    def __init__(self, directory: Path) -> None:
        self.source, self.target, self.outside = (directory / name for name in ("source", "target", "outside"))
        for path in (self.source, self.target, self.outside):
            path.mkdir()
        self._open = [os.open(path, os.O_RDONLY) for path in (self.source, self.target)]

    def copy(self, source: str, target: str, owner: "tuple[int, int] | None" = None, modes: int = 0o7777) -> list[str]:
        origin = Place(self._open[0], source, f"c:{source}")
        return cp.copy(origin, Place(self._open[1], target, target, modes), owner)

    def extract(self, archive: bytes, target: str = "/") -> list[str]:
        return cp.extract([archive], Place(self._open[1], target, target), None)

    def close(self) -> None:
        for each in self._open:
            os.close(each)


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    found = Trees(tmp_path)
    yield found
    assert list(found.outside.iterdir()) == [], "nothing leaves a tree"
    left = [path for path in tmp_path.rglob("*") if cp.BESIDE.decode() in path.name]
    assert left == []
    found.close()


def archive(*members: Any) -> bytes:
    """Return a tar file of (name, what it holds), or tarfile's own records."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_everything_of_a_file_comes_along(trees: Trees) -> None:
    path = trees.source / "file"
    path.write_text("text")
    path.chmod(0o4751)
    os.chown(path, 12, 34)
    path.chmod(0o4751)
    os.utime(path, ns=(5, 1_234_567_890))

    trees.copy("/file", "/kept")
    trees.copy("/file", "/given", owner=(7, 8))
    trees.copy("/file", "/host", owner=(0, 0), modes=0o1777)

    found = {name: (trees.target / name).stat() for name in ("kept", "given", "host")}
    assert [(each.st_uid, each.st_gid, stat.S_IMODE(each.st_mode)) for each in found.values()] == [
        *((12, 34, 0o4751), (7, 8, 0o4751), (0, 0, 0o751)),
    ]
    assert found["kept"].st_mtime_ns == 1_234_567_890
    assert (trees.target / "kept").read_text() == "text"


def test_links_of_a_container_lead_nowhere_outside(trees: Trees) -> None:
    """Neither on the way nor at the end, absolute or with dots."""
    (trees.outside / "secret").write_text("secret")
    (trees.source / "abs").symlink_to(trees.outside)
    (trees.source / "dots").symlink_to("../outside")
    (trees.source / "last").symlink_to(trees.outside / "secret")
    (trees.target / "abs").symlink_to(trees.outside)
    (trees.target / "dots").symlink_to("../outside")
    (trees.source / "file").write_text("ours")

    for path in ("/abs/secret", "/dots/secret", "/last", "/../outside/secret"):
        with pytest.raises(ImageError, match=r"c:.*does not exist"):
            trees.copy(path, "/")
    for path in ("/abs/", "/dots/new"):
        with pytest.raises(ImageError, match="does not exist"):
            trees.copy("/file", path)
    trees.copy("/file", "/dots")

    assert (trees.target / "outside").read_text() == "ours", "the link's end, in the container's own root"
    (trees.outside / "secret").unlink()


def test_an_archive_leaves_its_directory_by_no_way(trees: Trees) -> None:
    (trees.target / "door").symlink_to(trees.outside)
    trees.extract(archive(link("in", str(trees.outside)), ("in/file", b"x"), ("door/file", b"y")))

    assert (trees.target / "in" / "file").read_bytes() == b"x", "a directory took the link's place"
    assert (trees.target / "door" / "file").read_bytes() == b"y"
    for name in ("../up", "a/../../up"):
        with pytest.raises(Corrupt, match=r"`\.\.`"):
            trees.extract(archive((name, b"x")))
    with pytest.raises(Corrupt, match=r"`\.\.`"):
        trees.extract(archive(link("hard", "../outside/x", tarfile.LNKTYPE)))
    trees.extract(archive(("/absolute", b"x"), link("soft", "/etc/passwd")))
    assert (trees.target / "absolute").exists()
    (trees.target / "soft").unlink()


def test_what_is_swapped_while_it_is_read_is_not_followed(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between stat(2) and open(2) the container puts a link, a FIFO, and a device in a file's place."""
    (trees.outside / "secret").write_text("secret")
    original = os.open

    def swapping(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if path == b"file" and flags & os.O_ACCMODE == os.O_RDONLY:
            (trees.source / "file").unlink()
            swaps[0]()
        return original(path, flags, *more, **named)

    def fifo() -> None:
        os.mkfifo(trees.source / "file")

    def symlink() -> None:
        (trees.source / "file").symlink_to(trees.outside / "secret")

    def device() -> None:
        os.mknod(trees.source / "file", stat.S_IFCHR | 0o600, os.stat("/dev/zero").st_rdev)

    swaps = [fifo, symlink, device]
    while swaps:
        (trees.source / "file").write_text("long enough")
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", swapping)
            with pytest.raises(ImageError, match=r"cannot read c:/|changed while it was read"):
                trees.copy("/.", "/")
        (trees.source / "file").unlink()
        assert list(trees.target.iterdir()) == []
        swaps.pop(0)
    (trees.outside / "secret").unlink()


def test_hard_links_and_fifos_stay_what_they_are(trees: Trees) -> None:
    (trees.source / "d").mkdir()
    (trees.source / "d" / "one").write_text("x")
    os.link(trees.source / "d" / "one", trees.source / "d" / "two")
    os.mkfifo(trees.source / "d" / "fifo", 0o640)
    os.utime(trees.source / "d", ns=(0, 99))

    trees.copy("/d", "/new")
    trees.copy("/d", "/new/")

    assert (trees.target / "new" / "one").stat().st_ino == (trees.target / "new" / "two").stat().st_ino
    assert stat.S_ISFIFO((trees.target / "new" / "d" / "fifo").stat().st_mode)
    assert (trees.target / "new" / "d").stat().st_mtime_ns == 99
    trees.copy("/d/.", "/new")
    assert (trees.target / "new" / "one").read_text() == "x"


def test_devices_are_left_out(trees: Trees) -> None:
    node = tarfile.TarInfo("null")
    node.type, node.devmajor, node.devminor = tarfile.CHRTYPE, 1, 3

    assert trees.extract(archive(node, ("x", b""))) == ["/: 1 device files were left out"]
    assert [path.name for path in trees.target.iterdir()] == ["x"]


def test_a_file_that_grows_is_copied_as_it_was(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of a running program is no reason to fail; one that shrinks has lost what its header promised."""
    path = trees.source / "log"
    path.write_text("12345")
    original = tar_directory.attributes.read

    def growing(descriptor: int) -> Any:
        with open(path, "a", encoding="ascii") as file:
            file.write("6")
        return original(descriptor)

    monkeypatch.setattr(tar_directory.attributes, "read", growing)
    trees.copy("/log", "/log")
    assert (trees.target / "log").read_text() == "12345"


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("/none", "/", "c:/none: does not exist"),
        ("/file/x", "/", "c:/file/x: not a directory"),
        ("/dir", "/there", "/there: not a directory"),
        ("/file", "/there/", "/there/: not a directory"),
        ("/file", "/none/", "/none/: does not exist"),
        ("/file", "/none/x", "/none/x: does not exist"),
        ("/file", "/full", "cannot write /full"),
    ],
)
def test_what_cannot_be_copied(trees: Trees, source: str, target: str, why: str) -> None:
    (trees.source / "file").write_text("x")
    (trees.source / "dir").mkdir()
    (trees.target / "there").write_text("kept")
    (trees.target / "full" / "file").mkdir(parents=True)

    with pytest.raises(ImageError) as caught:
        trees.copy(source, target)

    assert str(caught.value).startswith(why)
    assert (trees.target / "there").read_text() == "kept"
