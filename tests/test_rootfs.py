"""Paths below a root that somebody else filled: no link, no `..` and no race leads out of it."""

import contextlib
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail import rootfs


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """An open root with a directory beside it that must never be reached."""
    (tmp_path / "root").mkdir()
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "secret").write_text("unchanged")
    descriptor = rootfs.open_root(str(tmp_path / "root"))
    yield descriptor
    os.close(descriptor)
    assert sorted(os.listdir(tmp_path / "host")) == ["secret"], "HOST PATH WAS CHANGED"
    assert (tmp_path / "host" / "secret").read_text() == "unchanged", "HOST PATH WAS CHANGED"


def where(place: rootfs.ResolvedPath) -> str:
    """Return the real path of a place and close it."""
    parent = os.readlink(f"/proc/self/fd/{place.parent}") if os.path.isdir("/proc/self/fd") else ""
    name = place.name
    place.close()
    return os.path.normpath(f"{parent}/{name}")


def resolved(root: int, path: str) -> str:
    place = rootfs.resolve(root, path)
    found = place.path
    place.close()
    return found


@pytest.mark.parametrize(
    ("path", "found"),
    [("/", ""), ("", ""), (".", ""), ("..", ""), ("../../..", ""), ("/a", "a"), ("a/", "a"), ("//a//b/./c", "a/b/c"),
     ("a/b/../x", "a/x"), ("a/../../../a/b", "a/b"), ("a/b/..", "a"), ("a/..", ""), ("/missing", "missing")],
)  # fmt: skip
def test_plain_paths(root: int, tmp_path: Path, path: str, found: str) -> None:
    """`..` stops at the root; the last component may be missing."""
    (tmp_path / "root" / "a" / "b" / "c").mkdir(parents=True)

    assert resolved(root, path) == found


@pytest.mark.parametrize(
    ("links", "path", "found"),
    [
        ({"l": "a"}, "l", "a"),
        ({"l": "/a"}, "l/b", "a/b"),
        ({"l": "../../../a"}, "l/b", "a/b"),
        ({"a/l": "/"}, "a/l/a/l/a", "a"),
        ({"l": "m", "m": "n", "n": "a/b"}, "l/c", "a/b/c"),
        ({"l": "/../../host"}, "l", "host"),
        ({"l": "missing"}, "l", "missing"),
        ({"a/l": "..", "a/m": "l/../.."}, "a/m/a/b", "a/b"),
        ({"l": "a/"}, "l/..", ""),
        ({"l": "."}, "l/l/l/a", "a"),
    ],
)
def test_links_stay_inside(root: int, tmp_path: Path, links: dict[str, str], path: str, found: str) -> None:
    """Absolute ones start at the root again, also as the last component."""
    (tmp_path / "root" / "a" / "b" / "c").mkdir(parents=True)
    for name, target in links.items():
        (tmp_path / "root" / name).symlink_to(target)

    assert resolved(root, path) == found


@pytest.mark.parametrize("target", ["l", "./l", "/l", "m"])
def test_loops_end(root: int, tmp_path: Path, target: str) -> None:
    (tmp_path / "root" / "l").symlink_to(target)
    (tmp_path / "root" / "m").symlink_to("l")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        rootfs.resolve(root, "l/x")


def test_forty_links_are_allowed(root: int, tmp_path: Path) -> None:
    """As in the kernel, and no more."""
    (tmp_path / "root" / "l0").mkdir()
    for number in range(1, 42):
        (tmp_path / "root" / f"l{number}").symlink_to(f"l{number - 1}")
    assert resolved(root, "l40") == "l0"
    with pytest.raises(OSError):
        rootfs.resolve(root, "l41")


def test_files_in_the_way(root: int, tmp_path: Path) -> None:
    """A file is no directory, and is not replaced by one."""
    (tmp_path / "root" / "file").touch()
    for path in ("file/x", "file/../x"):
        with pytest.raises(NotADirectoryError):
            rootfs.resolve(root, path)
    with pytest.raises(NotADirectoryError):
        rootfs.mount_point(root, "file/x/y", True, lambda *_made: None)
    with pytest.raises(FileNotFoundError):
        rootfs.resolve(root, "missing/x")


NAMES = st.sampled_from(["a", "b", "l", "m", "..", ".", "n"])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
TARGETS = st.tuples(st.sampled_from(["", "/", "../", "/../../host/", "../../"]), PATHS).map("".join)


@settings(max_examples=150)
@given(links=st.dictionaries(st.sampled_from(["l", "m", "a/l", "a/b/m"]), TARGETS), path=PATHS, directory=st.booleans())
def test_nothing_leads_out(root: int, tmp_path: Path, links: dict[str, str], path: str, directory: bool) -> None:
    """Any tree of links, any path: a mount point is made inside or not at all, and what was made can be taken back."""
    top = tmp_path / "root"
    (top / "a" / "b").mkdir(parents=True, exist_ok=True)
    for name, target in links.items():
        (top / name).symlink_to(target)
    before = sorted(str(found) for found in top.rglob("*"))
    made: list[str] = []
    try:
        place = rootfs.mount_point(root, path, directory, lambda name, _parent: made.append(name))
    except OSError:
        pass
    else:
        inside = os.path.realpath(top)
        if os.path.isdir("/proc/self/fd"):
            assert (where(place) + "/").startswith(inside + "/"), "HOST PATH WAS CHANGED"
        else:
            place.close()
    for name in reversed(made):
        rootfs.remove_made(root, name)
    assert sorted(str(found) for found in top.rglob("*")) == before
    assert os.listdir(tmp_path / "host") == ["secret"]
    for name in links:
        (top / name).unlink()


def test_mount_points_are_noted_before_they_are_made(root: int, tmp_path: Path) -> None:
    """Directories with a slash; what is there already is not noted."""
    seen: list[tuple[str, bool]] = []

    def making(name: str, _parent: int) -> None:
        seen.append((name, (tmp_path / "root" / name).exists()))

    rootfs.mount_point(root, "/x/y/file", False, making).close()
    rootfs.mount_point(root, "/x/y/directory", True, making).close()
    rootfs.mount_point(root, "/x/y/directory", True, making).close()

    assert seen == [("x/", False), ("x/y/", False), ("x/y/file", False), ("x/y/directory/", False)]
    assert (tmp_path / "root" / "x" / "y" / "file").stat().st_size == 0


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_modes_do_not_depend_on_the_callers_umask(root: int, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        rootfs.mount_point(root, "x/y", True, lambda *_made: None).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "root" / "x").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "root" / "x" / "y").stat().st_mode) == 0o755


def test_only_what_was_made_is_removed(root: int, tmp_path: Path) -> None:
    """Files with content, directories with entries, links in place of either: they are somebody's."""
    top = tmp_path / "root"
    (top / "full").write_text("content")
    (top / "directory").mkdir()
    (top / "directory" / "entry").touch()
    (top / "link").symlink_to(tmp_path / "host")
    for name in (
        "full",
        "directory/",
        "link",
        "link/",
        "link/secret",
        "missing",
        "missing/",
        "missing/x",
        "../host/secret",
    ):
        rootfs.remove_made(root, name)
    assert sorted(found.name for found in top.iterdir()) == ["directory", "full", "link"]
    (top / "empty").touch()
    (top / "hollow").mkdir()
    rootfs.remove_made(root, "empty/")
    rootfs.remove_made(root, "hollow")
    assert (top / "empty").exists() and (top / "hollow").exists()
    rootfs.remove_made(root, "empty")
    rootfs.remove_made(root, "hollow/")

    assert not (top / "empty").exists() and not (top / "hollow").exists()


def test_a_component_that_is_swapped_meanwhile(root: int, tmp_path: Path) -> None:
    """A process that shares the volume turns a directory into a link to the host while we walk: never followed."""
    top = tmp_path / "root"
    (top / "real").mkdir()
    (top / "swap").mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):  # where the walker has just made the missing directory again
                os.rename(top / "swap", top / "kept")
                os.symlink(tmp_path / "host", top / "swap")
                os.unlink(top / "swap")
            shutil.rmtree(top / "kept", ignore_errors=True)
            os.makedirs(top / "swap", exist_ok=True)

    thread = threading.Thread(target=swap)
    thread.start()
    inside = os.path.realpath(top)
    try:
        for number in range(1500):
            try:
                place = rootfs.mount_point(root, f"swap/made{number % 7}", True, lambda *_made: None)
            except OSError:
                continue
            if os.path.isdir("/proc/self/fd"):
                found = os.readlink(f"/proc/self/fd/{place.parent}")
                assert (found + "/").startswith(inside + "/"), "HOST PATH WAS CHANGED"
            place.close()
    finally:
        stop.set()
        thread.join()

    assert os.listdir(tmp_path / "host") == ["secret"], "HOST PATH WAS CHANGED"


def test_descriptors_are_not_leaked(root: int, tmp_path: Path) -> None:
    """Neither on success nor on any failure."""
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "root" / "a" / "file").touch()
    (tmp_path / "root" / "loop").symlink_to("loop")
    lowest = os.dup(0)
    os.close(lowest)
    for path in ("a/b/c", "a/file/x", "loop/x", "missing/x/y", "../..", "a/../a/b/.."):
        try:
            rootfs.resolve(root, path).close()
        except OSError:
            pass
        try:
            rootfs.mount_point(root, path, False, lambda *_made: None).close()
        except OSError:
            pass
        rootfs.remove_made(root, path)
    again = os.dup(0)
    os.close(again)

    assert again == lowest


def test_copying_a_tree(tmp_path: Path) -> None:
    """Owner, mode, times and links as they are; devices, sockets and pipes are left out; nothing is followed."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(b"x" * 3_000_000)
    (source / "deep" / "file").chmod(0o4751)
    (source / "deep").chmod(0o1770)
    (source / "link").symlink_to("/nonexistent/target")
    os.mkfifo(source / "pipe")
    os.utime(source / "deep" / "file", (1_000_000_000, 1_100_000_000))
    os.utime(source / "deep", (1_000_000_000, 1_200_000_000))
    target.mkdir()
    inner, outer = rootfs.open_root(str(source)), rootfs.open_root(str(target))
    rootfs.copy_tree(inner, outer)
    os.close(inner)
    os.close(outer)

    assert (target / "deep" / "file").read_bytes() == (source / "deep" / "file").read_bytes()
    assert os.readlink(target / "link") == "/nonexistent/target"
    assert not (target / "pipe").exists()
    assert (target / "deep" / "er").is_dir()
    for name in ("deep", "deep/file", "deep/er"):
        ours, theirs = (target / name).stat(), (source / name).stat()
        assert (ours.st_mode, ours.st_uid, ours.st_mtime_ns) == (theirs.st_mode, theirs.st_uid, theirs.st_mtime_ns)


def test_removing_a_tree(tmp_path: Path) -> None:
    """Links are removed and not followed; what is to stay does."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "precious").touch()
    top = tmp_path / "tree"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "link").symlink_to(tmp_path / "host")
    (top / "file").touch()
    os.mkfifo(top / "pipe")
    (top / "last").touch()
    opened = rootfs.open_root(str(top))
    rootfs.empty_tree(opened, str(top), "last")
    assert os.listdir(top) == ["last"]
    rootfs.empty_tree(opened, str(top))
    os.close(opened)

    assert os.listdir(top) == []
    assert (tmp_path / "host" / "precious").exists()


@pytest.mark.linux
def test_a_mount_below_a_tree_is_not_touched(tmp_path: Path) -> None:
    """The container's data may be mounted there: refused before anything else is removed."""
    top = tmp_path / "tree"
    (top / "b" / "mounted").mkdir(parents=True)
    (top / "a").touch()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(top / "b" / "mounted")], check=True)
    opened = rootfs.open_root(str(top))
    try:
        (top / "b" / "mounted" / "data").touch()
        with pytest.raises(OSError, match="still a mount point"):
            rootfs.empty_tree(opened, str(top))
        assert (top / "a").exists()
        assert (top / "b" / "mounted" / "data").exists()
    finally:
        os.close(opened)
        subprocess.run(["umount", str(top / "b" / "mounted")], check=True)
