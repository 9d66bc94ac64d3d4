"""Applying layers: attributes, what replaces what, whiteouts, and what stores rely on."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runjail import attributes
from runjail.errors import Corrupt, StorageError
from runjail.image.layers import apply
from runjail.image.layers.layer import Policy
from tests.support.fake_attributes import FakeLibc
from tests.support.image import tars
from tests.support.image.tars import archive, directory, hardlink, header, member, pax, symlink, unpack
from tests.support.leaks import Held

pytestmark = pytest.mark.needs("root")

NANOSECONDS = (b"mtime", b"1234567890.123456789")
WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"


def xattrs_work(path: Path) -> bool:
    try:
        os.setxattr(path, "user.test", b"")
        os.removexattr(path, "user.test")
    except (AttributeError, OSError):
        return False
    return True


# Attributes ---------------------------------------------------------------------------------------------------------


def test_a_file_gets_what_the_archive_says(root: Path) -> None:
    """Owner, suid bits in spite of the owner, and the time to the nanosecond, whatever the umask is."""
    before = os.umask(0o77)
    try:
        unpack(root, archive(pax(NANOSECONDS), member(b"f", b"x", mode=0o6755, uid=12, gid=34)))
    finally:
        os.umask(before)

    found = (root / "f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o6755, 12, 34)
    assert found.st_mtime_ns == 1234567890123456789


def test_a_directory_keeps_its_time(root: Path) -> None:
    """Whatever is put into it, or taken out of it, after its entry, in this layer."""
    unpack(root, archive(directory(b"d"), directory(b"d/e"), member(b"d/old"), member(b"d/e/f")))

    unpack(
        root,
        archive(
            directory(b".", mtime=5), directory(b"d", mtime=6), member(b"d/e/new"), member(b"d/n"), header(b"d/.wh.old")
        ),
    )

    assert [(root / name).stat().st_mtime for name in (".", "d", "d/e")] == [5, 6, tars.MTIME]


def test_directories_that_a_layer_does_not_name_keep_their_time(root: Path) -> None:
    """Adding a file in an upper layer leaves the directory as the lower one made it."""
    unpack(root, archive(pax(NANOSECONDS), directory(b"d"), member(b"d/f")))

    unpack(root, archive(member(b"d/g"), symlink(b"d/h", b"g"), header(b"d/.wh.f")))

    assert (root / "d").stat().st_mtime_ns == 1234567890123456789


def test_missing_parents_are_made(root: Path) -> None:
    """Owner 0, mode 0755, whatever the umask."""
    before = os.umask(0o77)
    try:
        unpack(root, archive(member(b"a/b/f", uid=5)))
    finally:
        os.umask(before)

    found = (root / "a" / "b").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o755, 0, 0)


def test_links_fifos_and_sticky_directories(root: Path) -> None:
    """They have owners and times of their own; a link's target keeps its."""
    own = {"uid": 7, "gid": 8}
    link, fifo, sticky = (
        header(b"l", b"2", link=b"f", **own),
        header(b"p", b"6", mode=0o620, **own),
        directory(b"t", mode=0o1777),
    )

    unpack(root, archive(member(b"f"), link, fifo, sticky))

    found = [(root / name).lstat() for name in "lpt"]
    assert [(s.st_uid, s.st_gid, s.st_mtime) for s in found[:2]] == [(7, 8, tars.MTIME)] * 2
    assert [stat.S_IMODE(s.st_mode) for s in found[1:]] == [0o620, 0o1777]
    assert (root / "f").stat().st_uid == 0


def test_a_directory_without_any_permission_is_filled(root: Path) -> None:
    """Its mode comes before its content."""
    unpack(root, archive(directory(b"d", mode=0), member(b"d/f", b"x")))

    assert (stat.S_IMODE((root / "d").stat().st_mode), (root / "d/f").read_text()) == (0, "x")


def test_devices_by_policy(root: Path) -> None:
    """Without it they are left out, with one warning for all."""
    layer = archive(header(b"null", b"3", major=1, minor=3, mode=0o666), header(b"disk", b"4", major=8, minor=1))

    done = unpack(root, layer)

    assert (tars.seen(root), done.entries) == ({}, 2)
    assert done.warnings == ("left out: device nodes (2, the first at 'null')",)
    try:
        done = unpack(root, layer, policy=Policy(devices=True))
    except StorageError:
        pytest.skip("this machine does not let us make device nodes")
    found = (root / "null").stat()
    assert (found.st_mode, found.st_rdev, done.warnings) == (stat.S_IFCHR | 0o666, os.makedev(1, 3), ())
    assert stat.S_ISBLK((root / "disk").stat().st_mode)


@pytest.mark.needs("linux")
def test_extended_attributes(root: Path) -> None:
    """user.* and file capabilities, also after the owner changed; what belongs to another system is passed over."""
    if not xattrs_work(root):
        pytest.skip("this file system has no extended attributes")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    values = [(b"user.a", b"1\n\0"), (b"security.capability", capability), (b"trusted.overlay.opaque", b"y")]
    values += [(b"security.selinux", b"x"), (b"system.posix_acl_access", b"x"), (b"nonsense", b"x")]
    extra = [(b"SCHILY.xattr." + name, value) for name, value in values]

    done = unpack(root, archive(pax(*extra), member(b"f", b"x", uid=5, mode=0o755), pax(*extra[:1]), directory(b"d")))

    assert {name: os.getxattr(root / "f", name) for name in os.listxattr(root / "f")} == {
        "user.a": b"1\n\0",
        "security.capability": capability,
    }
    assert (os.listxattr(root / "d"), done.warnings) == (["user.a"], ())


@pytest.mark.needs("linux")
def test_an_existing_directory_takes_new_attributes(root: Path) -> None:
    """It keeps its children and loses what the new entry does not say."""
    if not xattrs_work(root):
        pytest.skip("this file system has no extended attributes")
    unpack(root, archive(pax((b"SCHILY.xattr.user.a", b"1")), directory(b"d", mode=0o700, uid=5), member(b"d/f")))

    unpack(root, archive(pax((b"SCHILY.xattr.user.b", b"2")), directory(b"d", mode=0o750)))

    found = (root / "d").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, os.listxattr(root / "d")) == (0o750, 0, ["user.b"])
    assert tars.seen(root) == {"d": "dir", "d/f": "file "}


def test_a_file_system_without_attributes_is_one_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer is unpacked all the same."""

    class Nothing(attributes.Linux):
        def set(self, file: int, name: bytes, value: bytes) -> None:
            raise OSError(errno.ENOTSUP, "Operation not supported")

        def names(self, file: int) -> list[bytes]:
            raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(attributes, "SYSTEM", Nothing())
    extra = pax((b"SCHILY.xattr.user.a", b"1"))

    done = unpack(root, archive(directory(b"."), extra, member(b"f"), extra, member(b"g")))

    what = "extended attributes, which the file system does not have"
    assert done.warnings == (f"left out: {what} (2, the first at 'f')",)


def test_attributes_of_links_are_left_out(root: Path) -> None:
    """Neither system can set them below a directory descriptor."""
    done = unpack(root, archive(pax((b"SCHILY.xattr.user.a", b"1")), symlink(b"l", b"x")))

    assert done.warnings == ("left out: extended attributes of links and special files (1, the first at 'l')",)


# What stores rely on ------------------------------------------------------------------------------------------------

REPLACERS = {
    "file": member(b"f", b"new", mode=0o600, uid=9),
    "directory": directory(b"f"),
    "symlink": symlink(b"f", b"x"),
    "hard link": hardlink(b"f", b"other"),
    "fifo": header(b"f", b"6"),
    "device": header(b"f", b"3"),
    "whiteout": header(b".wh.f"),
    "opaque": header(b".wh..wh..opq"),
}


@pytest.mark.parametrize("entry", REPLACERS.values(), ids=REPLACERS.keys())
def test_a_shared_file_is_never_changed(root: Path, entry: bytes) -> None:
    """The directory store links files between layers: their content, mode, owner and time belong to the lower one."""
    unpack(root, archive(member(b"f", b"lower", mode=0o644), member(b"other")))
    kept = root.parent / "kept"
    os.link(root / "f", kept)
    before = tars.exactly(kept)

    unpack(root, archive(entry))

    after = tars.exactly(kept)
    links = 4  # the one member that may change: how many names the file has
    assert [(*v[:links], *v[links + 1 :]) for v in after.values()] == [
        (*v[:links], *v[links + 1 :]) for v in before.values()
    ]


def test_a_hard_link_changes_nothing_of_its_file(root: Path) -> None:
    """Whatever owner, mode and time its entry has: the file may be a lower layer's."""
    unpack(root, archive(member(b"f", b"x", mode=0o644, mtime=5)))

    unpack(root, archive(header(b"g", b"1", link=b"f", mode=0o777, uid=9, mtime=9)))

    found = (root / "f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime, found.st_nlink) == (0o644, 0, 5, 2)


def test_a_replaced_hard_link_leaves_the_other_names(root: Path) -> None:
    """Of the same layer."""
    unpack(root, archive(member(b"f", b"old"), hardlink(b"g", b"f"), member(b"f", b"new")))

    assert tars.seen(root) == {"f": "file new", "g": "file old"}


def test_a_hard_link_to_a_symbolic_link(root: Path) -> None:
    """Links the link itself."""
    unpack(root, archive(member(b"f"), symlink(b"l", b"f"), hardlink(b"h", b"l")))

    assert (os.readlink(root / "h"), (root / "l").lstat().st_nlink, (root / "f").stat().st_nlink) == ("f", 2, 1)


def test_a_full_disk_is_a_storage_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the layer's fault, and it says which file."""

    def full(*_arguments: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(apply.os, "pwrite", full)

    with pytest.raises(StorageError, match=r"unpacking 'f': no space left"):
        unpack(root, archive(member(b"f", b"x")))


def test_short_writes_are_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may take less than it was given."""
    real = os.pwrite
    monkeypatch.setattr(apply.os, "pwrite", lambda file, data, at: real(file, bytes(data[:7]), at))

    unpack(root, archive(member(b"f", b"0123456789" * 5)))

    assert (root / "f").read_bytes() == b"0123456789" * 5


def test_many_directories_need_few_descriptors(root: Path) -> None:
    """Some hundred directories, visited twice, in turns, through a link, within a small limit on open files."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = [b"d/%d/%d" % (number % 7, number) for number in range(500)]
    parts = [member(b"l/" + place[2:] + suffix, place) for suffix in (b"/x", b"/y") for place in places]
    highest = max(map(int, os.listdir("/dev/fd")))  # of this process, whatever other tests opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 150, hard))
    try:
        unpack(root, archive(directory(b"d"), symlink(b"l", b"d"), *parts))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert all((root / os.fsdecode(place) / name).read_bytes() == place for place in places for name in "xy")


def test_open_files_do_not_grow(root: Path) -> None:
    """Neither after success nor after failure."""
    before = Held()

    unpack(root, archive(*[member(b"%d/x" % number) for number in range(50)]))
    with pytest.raises(Corrupt):
        unpack(root, archive(*[member(b"a%d/x" % number) for number in range(50)], member(b"../x")))

    assert before.more() == []


# FreeBSD's flags, against a libc of ours -----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [True, False])
def test_file_flags_come_last_and_by_policy(root: Path, monkeypatch: pytest.MonkeyPatch, policy: bool) -> None:
    """A locked file takes no hard link, a locked directory no file; what was replaced has none."""
    libc = FakeLibc()
    monkeypatch.setattr(attributes, "SYSTEM", attributes.FreeBsd(libc))
    schg, nodump = pax((b"SCHILY.fflags", b"schg")), pax((b"SCHILY.fflags", b"nodump"))
    parts = [schg, directory(b"d"), schg, member(b"d/f"), hardlink(b"d/g", b"d/f"), nodump, symlink(b"l", b"d/f")]
    parts += [schg, member(b"replaced"), member(b"replaced"), schg, member(b"gone/f"), symlink(b"gone", b"d")]

    unpack(root, archive(*parts), policy=Policy(flags=policy))

    flags = [("chflagsat", b"d", 0x20000, 0x200), ("chflagsat", b"f", 0x20000, 0x200), ("chflagsat", b"l", 1, 0x200)]
    assert libc.calls == (flags if policy else [])
    assert (root / "d" / "f").stat().st_nlink == 2


def test_locked_files_are_unlocked_to_be_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """schg of a lower layer does not keep a whiteout from working, whatever the policy is."""
    libc = FakeLibc()
    locked, real = {b"f", b"d"}, {"unlink": os.unlink, "rmdir": os.rmdir}

    def refusing(kind: str) -> Any:
        def call(name: Any, **where: int) -> None:
            if name in locked and ("chflagsat", name, 0, 0x200) not in libc.calls:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            real[kind](name, **where)

        return call

    unpack(root, archive(member(b"d/f"), member(b"g")))
    monkeypatch.setattr(attributes, "SYSTEM", attributes.FreeBsd(libc))
    monkeypatch.setattr("runjail.image.layers.tree.os.unlink", refusing("unlink"))
    monkeypatch.setattr("runjail.image.layers.tree.os.rmdir", refusing("rmdir"))

    unpack(root, archive(header(b".wh.d"), header(b".wh.g")))

    assert tars.seen(root) == {}


def test_locked_directories_are_unlocked_and_locked_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file put into a directory that a lower layer made schg."""
    libc = FakeLibc()
    unpack(root, archive(directory(b"d")))
    had = iter([0, 0x20000])  # the root's flags, then the directory's

    class System(attributes.FreeBsd):
        def unlock(self, file: int) -> int:
            return next(had)

    monkeypatch.setattr(attributes, "SYSTEM", System(libc))

    unpack(root, archive(member(b"d/f")))

    assert libc.calls == [("chflagsat", b"d", 0x20000, 0x200)]


def test_who_is_not_root_is_told_what_it_takes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To give a file to somebody else (chown(2))."""

    def refused(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refused)
    for user, hint in ((1000, apply.ORDINARY), (0, None)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(StorageError, match="unpacking 'f': not allowed") as caught:
            unpack(root, archive(member(b"f", uid=5)))
        assert caught.value.hint == hint
