"""What the kernel tells about jails, mounts and processes: its C structures read into records.

Layouts are those of FreeBSD 14 and 15 on 64-bit machines; the sizes and versions that the kernel writes into them are
compared, because an identifier read from the wrong place would hit somebody else's process or file system.
"""

from __future__ import annotations

import _struct
import errno
import os

from runjail.record import Record

SZOMB, SSTOP = 5, 4  # ki_stat
P_WEXIT = 0x2000  # ki_flag
P2_WEXIT = 0x40000  # ki_flag2: as soon as its end begins, so already while its other threads are waited for
PENDING_SIGKILL = 1 << 8  # ki_siglist
KINFO_SIZE, STATFS_SIZE, STATFS_VERSION = 1088, 2344, 0x20140518
_STATFS_TEXTS = ((280, 16), (296, 1024), (1320, 1024))  # f_fstypename, f_mntfromname, f_mntonname


class Jail(Record):
    """A jail as jail_get(2) shows it: name with those of its parents, path as the kernel resolved it."""

    jid: int
    name: str
    path: str


class MountEntry(Record):
    """One entry of the mount table. fsid: what unmount(2) takes; source, path: f_mntfromname and f_mntonname."""

    fsid: tuple[int, int]
    fstype: str
    source: str
    path: str
    flags: int


class Proc(Record):
    """What we read of struct kinfo_proc. state: ki_stat.

    start: microseconds of the real-time clock; runtime: microseconds of CPU time; resident: pages. dying: it works on
    its end, or SIGKILL waits for it.
    """

    pid: int
    start: int
    state: int
    jid: int
    command: str
    runtime: int = 0
    resident: int = 0
    dying: bool = False


def text(data: bytes) -> str:
    """Return the C string at the start of data."""
    return os.fsdecode(data.partition(b"\0")[0])


def read_statfs(data: bytes, start: int = 0) -> MountEntry:
    """Read the struct statfs that starts there. Raises OSError for another layout."""
    (version,) = _struct.unpack_from("I", data, start)
    if version != STATFS_VERSION:
        raise OSError(errno.EINVAL, f"struct statfs has version {version:#x}, not {STATFS_VERSION:#x}")
    (flags,) = _struct.unpack_from("Q", data, start + 8)
    first, second = _struct.unpack_from("ii", data, start + 192)
    fstype, source, path = (text(data[start + at : start + at + size]) for at, size in _STATFS_TEXTS)
    return MountEntry((first, second), fstype, source, path, flags)


def read_kinfo(data: bytes, start: int = 0) -> Proc:
    """Read the struct kinfo_proc that starts there. Raises OSError for another layout."""
    (size,) = _struct.unpack_from("i", data, start)
    if size != KINFO_SIZE:
        raise OSError(errno.EINVAL, f"struct kinfo_proc has {size} bytes, not {KINFO_SIZE}")
    (pid,) = _struct.unpack_from("i", data, start + 72)
    (resident,) = _struct.unpack_from("q", data, start + 264)
    runtime, seconds, micros = _struct.unpack_from("Qqq", data, start + 328)
    (jid,) = _struct.unpack_from("i", data, start + 592)
    command = text(data[start + 447 : start + 467])
    (pending,), (flags,) = _struct.unpack_from("I", data, start + 104), _struct.unpack_from("q", data, start + 368)
    (flags2,) = _struct.unpack_from("I", data, start + 580)
    dying = bool(flags & P_WEXIT or flags2 & P2_WEXIT or pending & PENDING_SIGKILL)
    return Proc(pid, seconds * 1000000 + micros, data[start + 388], jid, command, runtime, resident, dying)
