"""Extended attributes and file flags: FreeBSD's against a libc of ours, this system's own against the system."""

import ctypes
import errno
import os
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import attributes
from tests.support.fake_attributes import FakeLibc


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> FakeLibc:
    """The libc of a FreeBSD, which this process takes for its own."""
    fake = FakeLibc()
    monkeypatch.setattr(attributes, "SYSTEM", attributes.FreeBsd(fake))
    return fake


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An open file."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_freebsd_has_two_namespaces(libc: FakeLibc, file: int) -> None:
    """user and system; what belongs to others cannot be kept."""
    system = attributes.SYSTEM
    system.set(file, b"user.note", b"a\0b")
    system.set(file, b"user.b.c", b"")
    system.set(file, b"system.acl", b"x" * 300)

    assert libc.values == {(1, b"note"): b"a\0b", (1, b"b.c"): b"", (2, b"acl"): b"x" * 300}
    assert attributes.read(file) == {b"user.note": b"a\0b", b"user.b.c": b"", b"system.acl": b"x" * 300}
    names = (b"user.a", b"system.a", b"security.capability", b"trusted.a", b"user.", b"user")
    assert [system.carried(name) for name in names] == [True, True, False, False, False, False]
    with pytest.raises(OSError, match="not supported") as caught:
        system.set(file, b"security.capability", b"x")
    assert caught.value.errno in attributes.UNSUPPORTED


def test_freebsd_clears_both_namespaces(libc: FakeLibc, file: int) -> None:
    libc.values = {(1, b"a"): b"1", (1, b"b"): b"2", (2, b"c"): b"3"}
    attributes.clear(file)
    assert libc.values == {}


def test_freebsd_copies_both_namespaces(libc: FakeLibc, file: int) -> None:
    libc.values = {(1, b"a"): b"1", (2, b"c"): b"3"}
    attributes.copy(file, file)
    assert libc.values == {(1, b"a"): b"1", (2, b"c"): b"3"}


@pytest.mark.parametrize(
    ("has", "calls"),
    [
        (set(), []),
        ({64}, [("set", 4, "mode alone")]),
        ({59}, [("delete default",), ("set", 2, "mode alone")]),
    ],
    ids=["UFS", "ZFS", "UFS with acls"],
)
def test_freebsds_acls_are_what_the_mode_says(
    libc: FakeLibc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: set[int], calls: list[tuple[object, ...]]
) -> None:
    """By what the file system has: NFSv4 ACLs, POSIX ones with those for what is made in a directory, or none."""
    monkeypatch.setattr(os, "pathconf", lambda path, name: int(name in has))

    attributes.remove_acls(str(tmp_path))

    assert libc.calls == [(call[0], os.fsencode(tmp_path), *call[1:]) for call in calls]
    assert libc.held == set()


def test_acls_that_cannot_be_read_are_an_error(libc: FakeLibc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        ctypes.set_errno(errno.EIO)

    monkeypatch.setattr(os, "pathconf", lambda path, name: int(name == 64))
    monkeypatch.setattr(libc, "acl_get_file", refuse)

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        attributes.remove_acls(str(tmp_path))


def test_system_attributes_need_privilege(libc: FakeLibc, file: int) -> None:
    """Without it there are those of users."""
    libc.values = {(1, b"a"): b"1", (2, b"c"): b"3"}
    libc.refuses = {2: errno.EPERM}
    assert attributes.read(file) == {b"user.a": b"1"}


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_attributes(libc: FakeLibc, file: int, number: int) -> None:
    """None to read, to clear or to copy; other errors are raised."""
    libc.refuses = {1: number, 2: number}
    assert attributes.read(file) == {}
    attributes.clear(file)
    attributes.copy(file, file)

    libc.refuses = {1: errno.EIO}
    with pytest.raises(OSError, match="Input/output error"):
        attributes.read(file)


def test_attributes_that_are_cut_short_are_an_error(libc: FakeLibc, file: int) -> None:
    """The kernel says how much it took."""
    libc.short = 1
    with pytest.raises(OSError, match="cut short"):
        attributes.SYSTEM.set(file, b"user.a", b"xy")


@pytest.mark.parametrize(
    ("names", "bits"),
    [(b"schg", 0x20000), (b"nodump,uchg", 3), (b"uarch,linux-thing", 0x800), (b"", 0), (b"schg,schg", 0x20000)],
)
def test_file_flags_by_name(names: bytes, bits: int) -> None:
    """sys/stat.h has the numbers; unknown names mean nothing."""
    assert attributes.parse_flags(names) == bits


def test_only_locking_flags_are_taken_away(libc: FakeLibc, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZFS sets uarch on everything."""
    found = {"flags": 0x800}
    system = types.SimpleNamespace(fstat=lambda _file: types.SimpleNamespace(st_flags=found["flags"]))
    monkeypatch.setattr(attributes, "os", system)

    assert (attributes.SYSTEM.unlock(0), libc.calls) == (0, [])
    found["flags"] = 0x20800
    assert (attributes.SYSTEM.unlock(0), libc.calls) == (0x20800, [("fchflags", 0)])


def test_flags_are_set_without_following(libc: FakeLibc, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    directory = os.open(tmp_path, os.O_RDONLY)
    attributes.SYSTEM.set_flags(directory, "link", 1)
    os.close(directory)
    assert libc.calls == [("chflagsat", b"link", 1, 0x200)]


def test_this_system(file: int, tmp_path: Path) -> None:
    """Attributes of users live; the host's own are not what layers carry."""
    try:
        attributes.SYSTEM.set(file, b"user.note", b"a\0b")
    except OSError as error:
        assert error.errno in attributes.UNSUPPORTED
        pytest.skip("this file system has no extended attributes")
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    try:
        attributes.copy(file, other)
        assert attributes.read(other) == {b"user.note": b"a\0b"}
        attributes.clear(other)
        assert attributes.read(other) == {}
        assert not attributes.SYSTEM.carried(b"trusted.overlay.opaque")
    finally:
        os.close(other)


@pytest.mark.freebsd
def test_flags_of_this_system(file: int, tmp_path: Path) -> None:
    """A locked file cannot be removed until it is unlocked."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        attributes.SYSTEM.set_flags(directory, "file", attributes.FLAGS[b"schg"])
        with pytest.raises(PermissionError):
            os.unlink("file", dir_fd=directory)
        assert attributes.SYSTEM.unlock(file) & attributes.FLAGS[b"schg"]
        os.unlink("file", dir_fd=directory)
    finally:
        os.close(directory)
