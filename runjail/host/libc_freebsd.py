"""The FreeBSD system calls we make, as typed functions that raise OSError. No policy here.

Section 2 of the manual has each by its own name; layouts are those of 14 and 15 on 64-bit machines, and sizes the
kernel reports are checked against them. Importing this module loads no library, so it can be tested anywhere.
"""

import ctypes
import errno
import os
import struct

from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Value = str | int | bytes | ctypes.Array[ctypes.c_char] | None  # None: present without a value

JAIL_DYING = 8
MNT_RDONLY, MNT_SYNC, MNT_NOEXEC, MNT_NOSUID = 0x1, 0x2, 0x4, 0x8
MNT_NOSYMFOLLOW, MNT_NOATIME, MNT_UPDATE = 0x400000, 0x10000000, 0x10000
MNT_FORCE, MNT_BYFSID, MNT_NOWAIT = 0x80000, 0x8000000, 2
PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE = 7, 2
PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE = 19, 1
SZOMB, SSTOP = 5, 4  # ki_stat
KERN_PROC_PID, KERN_PROC_PROC = (1, 14, 1), (1, 14, 8, 0)
KINFO_SIZE, STATFS_SIZE, STATFS_VERSION = 1088, 2344, 0x20140518
CPU_LEVEL_WHICH, CPU_WHICH_JAIL, CPU_SETSIZE = 3, 5, 1024
NAME_MAX, PATH_MAX = 256, 1024  # buffers for a jail's name and path; smaller ones are EINVAL


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


_iovecs, _text, _out, _number = ctypes.POINTER(Iovec), ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int
_size, _sizes = ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)
SIGNATURES: "dict[str, tuple[Any, ...]]" = {
    "jail_get": (_iovecs, ctypes.c_uint, _number),
    "jail_attach": (_number,),
    "jail_remove": (_number,),
    "nmount": (_iovecs, ctypes.c_uint, _number),
    "unmount": (_text, _number),
    "getfsstat": (_out, ctypes.c_long, _number),
    "statfs": (_text, _out),
    "procctl": (_number, ctypes.c_int64, _number, _out),
    "sysctl": (_out, ctypes.c_uint, _out, _sizes, _out, _size),
    "sysctlbyname": (_text, _out, _sizes, _out, _size),
    "rctl_add_rule": (_text, _size, _out, _size),
    "rctl_remove_rule": (_text, _size, _out, _size),
    "rctl_get_racct": (_text, _size, _out, _size),
    "rctl_get_rules": (_text, _size, _out, _size),
    "cpuset_setaffinity": (_number, _number, ctypes.c_int64, _size, _out),
    "posix_openpt": (_number,),
    "grantpt": (_number,),
    "unlockpt": (_number,),
}


class Prison(Record):
    """A jail as jail_get(2) shows it: name with those of its parents, path as the kernel resolved it."""

    jid: int
    name: str
    path: str


class Mounted(Record):
    """One entry of the mount table. fsid: what unmount(2) takes; source, path: f_mntfromname and f_mntonname."""

    fsid: tuple[int, int]
    fstype: str
    source: str
    path: str
    flags: int


class Proc(Record):
    """What we read of struct kinfo_proc. state: ki_stat.

    start: microseconds of the real-time clock; runtime: microseconds of CPU time; resident: pages.
    """

    pid: int
    start: int
    state: int
    jid: int
    command: str
    runtime: int = 0
    resident: int = 0


class Libc:
    """libc.so.7, given as what ctypes.CDLL returns; tests pass an object with the same functions."""

    def __init__(self, library: "Any") -> None:
        self._library = library
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        library.ptsname.argtypes, library.ptsname.restype = (_number,), _text

    def _call(self, name: str, *arguments: "Any") -> int:
        result: int = getattr(self._library, name)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _call_pairs(self, name: str, pairs: "Sequence[tuple[str, Value]]", flags: int) -> int:
        """Make a call whose arguments are names and values; its error text, where it gives one, is the kernel's own."""
        message = ctypes.create_string_buffer(1024)
        vector, _buffers = _vector([*pairs, ("errmsg", message)])
        result: int = getattr(self._library, name)(vector, len(vector), flags)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, message.value.decode("utf-8", "replace") or os.strerror(number))
        return result

    # -- jails

    def jail(self, which: int | str, dying: bool = False) -> Prison | None:
        """Return the jail with this jid or full name, None when there is none. dying: count those being removed."""
        name, path = ctypes.create_string_buffer(NAME_MAX), ctypes.create_string_buffer(PATH_MAX)
        # Never ask for a parameter that is also the key: the second one hides the first.
        key: tuple[str, Value] = ("jid", which) if isinstance(which, int) else ("name", which)
        wanted: list[tuple[str, Value]] = [("name", name)] if isinstance(which, int) else []
        try:
            jid = self._call_pairs("jail_get", [key, *wanted, ("path", path)], JAIL_DYING if dying else 0)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return Prison(jid, which if isinstance(which, str) else _decode(name.value), _decode(path.value))

    def jails(self) -> "Iterator[Prison]":
        """Yield all live jails below ours, by jid."""
        last = 0
        while True:
            name, path = ctypes.create_string_buffer(NAME_MAX), ctypes.create_string_buffer(PATH_MAX)
            try:
                last = self._call_pairs("jail_get", [("lastjid", last), ("name", name), ("path", path)], 0)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            yield Prison(last, _decode(name.value), _decode(path.value))

    def jail_attach(self, jid: int) -> None:
        """Move this process into a jail for good. EPERM while a directory is open, EINVAL when there is no jail."""
        self._call("jail_attach", jid)

    def jail_remove(self, jid: int) -> None:
        """Kill everything in a jail and remove it, with its children. EINVAL when there is no such jail."""
        self._call("jail_remove", jid)

    def set_jail_cpus(self, jid: int, cpus: "Sequence[int]") -> None:
        """Restrict a jail to these CPUs, numbers below CPU_SETSIZE. EINVAL, EDEADLK when the machine lacks them."""
        words = [0] * (CPU_SETSIZE // 64)  # struct cpuset: an array of long, lowest CPUs first
        for cpu in cpus:
            words[cpu // 64] |= 1 << cpu % 64
        mask = ctypes.create_string_buffer(struct.pack(f"{len(words)}Q", *words), CPU_SETSIZE // 8)
        self._call("cpuset_setaffinity", CPU_LEVEL_WHICH, CPU_WHICH_JAIL, jid, len(mask), mask)

    # -- mounts

    def nmount(self, options: "Sequence[tuple[str, str | None]]", flags: int) -> None:
        """Mount. options: fstype, fspath and so on; flags: MNT_* bits."""
        self._call_pairs("nmount", options, flags)

    def unmount(self, fsid: tuple[int, int], force: bool = False) -> None:
        """Unmount by file system id. ENOENT when it is not mounted, EBUSY when it is in use."""
        self._call("unmount", b"FSID:%d:%d" % fsid, MNT_BYFSID | (MNT_FORCE if force else 0))

    def mounts(self) -> list[Mounted]:
        """Return the mount table, oldest first."""
        count = self._call("getfsstat", None, 0, MNT_NOWAIT)
        while True:
            room = count + 16
            buffer = ctypes.create_string_buffer(room * STATFS_SIZE)
            count = self._call("getfsstat", buffer, len(buffer), MNT_NOWAIT)
            if count < room:  # a full buffer may have been too small
                return [_mounted(buffer.raw, index * STATFS_SIZE) for index in range(count)]

    def statfs(self, path: str) -> Mounted:
        """Return the mount that `path` is on, or is."""
        buffer = ctypes.create_string_buffer(STATFS_SIZE)
        self._call("statfs", os.fsencode(path), buffer)
        return _mounted(buffer.raw, 0)

    # -- processes

    def procctl(self, command: int, value: int) -> None:
        """Set a property of this process."""
        self._call("procctl", 0, 0, command, ctypes.byref(ctypes.c_int(value)))

    def process(self, pid: int) -> Proc | None:
        """Return one process, zombies included; None when there is none."""
        try:
            found = self._sysctl((*KERN_PROC_PID, pid))
        except OSError as error:
            if error.errno == errno.ESRCH:
                return None
            raise
        return _proc(found, 0) if found else None

    def processes(self) -> list[Proc]:
        """Return all processes, zombies included."""
        found = self._sysctl(KERN_PROC_PROC)
        return [_proc(found, start) for start in range(0, len(found), KINFO_SIZE)]

    def _sysctl(self, mib: tuple[int, ...]) -> bytes:
        names = (ctypes.c_int * len(mib))(*mib)
        size = ctypes.c_size_t(0)
        while True:
            self._call("sysctl", names, len(mib), None, ctypes.byref(size), None, 0)
            size.value += 8 * KINFO_SIZE  # processes appear between the two calls
            buffer = ctypes.create_string_buffer(size.value)
            try:
                self._call("sysctl", names, len(mib), buffer, ctypes.byref(size), None, 0)
            except OSError as error:
                if error.errno == errno.ENOMEM:
                    continue
                raise
            return buffer.raw[: size.value]

    def sysctl(self, name: str, size: int = 64) -> bytes:
        """Return the value of a kernel variable of up to `size` bytes. ENOENT when this kernel has none."""
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
        self._call("sysctlbyname", name.encode(), buffer, ctypes.byref(length), None, 0)
        return buffer.raw[: length.value]

    def boottime(self) -> int:
        """Return kern.boottime in microseconds. It moves when somebody sets the clock."""
        seconds, micros = struct.unpack_from("qq", self.sysctl("kern.boottime"))
        return int(seconds * 1000000 + micros)

    # -- resources: rctl(8) words, amounts without suffixes. All raise ENOSYS while accounting is off.

    def rctl_add_rule(self, rule: str) -> None:
        """Add `jail:NAME:maxproc:deny=20`; an equal rule with another amount is replaced."""
        self._rctl("rctl_add_rule", rule, None)

    def rctl_remove_rule(self, rule: str) -> None:
        """Remove the rules that start with `jail:NAME:maxproc:deny`. ESRCH when there is none."""
        self._rctl("rctl_remove_rule", rule, None)

    def rctl_get_racct(self, subject: str) -> dict[str, int]:
        """Return what `jail:NAME` uses; all zeros when there is no such jail."""
        return self._rctl_read("rctl_get_racct", subject)

    def rctl_get_rules(self, subject: str) -> dict[str, int]:
        """Return the rules of `jail:NAME` with their amounts."""
        return self._rctl_read("rctl_get_rules", subject)

    def _rctl_read(self, name: str, subject: str) -> dict[str, int]:
        buffer = ctypes.create_string_buffer(65536)
        self._rctl(name, subject, buffer)
        pairs = (entry.partition("=") for entry in buffer.value.decode().split(",") if entry)
        return {key: int(amount.partition("/")[0]) for key, _, amount in pairs}

    def _rctl(self, name: str, text: str, out: "ctypes.Array[ctypes.c_char] | None") -> None:
        data = text.encode()
        self._call(name, data, len(data) + 1, out, len(out) if out else 0)

    # -- terminals

    def open_terminal(self) -> tuple[int, str]:
        """Return the master of a new pseudo-terminal and the path of its slave."""
        master = self._call("posix_openpt", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            self._call("grantpt", master)
            self._call("unlockpt", master)
            name = self._library.ptsname(master)
            if not name:
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        except OSError:
            os.close(master)
            raise
        return master, name.decode()


def load() -> Libc:
    """Return the libc of this process."""
    return Libc(ctypes.CDLL(None, use_errno=True))


def _vector(pairs: "Sequence[tuple[str, Value]]") -> "tuple[ctypes.Array[Iovec], list[Any]]":
    """Return the iovec array for jail_get(2) and nmount(2), and the buffers that must outlive it."""
    buffers: list[Any] = []
    for name, value in pairs:
        buffers.append(ctypes.create_string_buffer(name.encode()))
        buffers.append(_buffer(value))
    vector = (Iovec * len(buffers))()
    for entry, buffer in zip(vector, buffers, strict=True):
        if buffer is not None:
            entry.base, entry.len = ctypes.addressof(buffer), ctypes.sizeof(buffer)
    return vector, buffers


def _buffer(value: "Value") -> "ctypes.Array[ctypes.c_char] | None":
    if value is None or isinstance(value, ctypes.Array):
        return value
    data = struct.pack("i", value) if isinstance(value, int) else value if isinstance(value, bytes) else _encode(value)
    return ctypes.create_string_buffer(data, len(data))


def _encode(text: str) -> bytes:
    if "\0" in text:  # the kernel would see the part before it
        raise OSError(errno.EINVAL, "a NUL character in a name")
    return os.fsencode(text) + b"\0"


def _decode(data: bytes) -> str:
    return os.fsdecode(data.partition(b"\0")[0])


def _mounted(data: bytes, start: int) -> Mounted:
    (version,) = struct.unpack_from("I", data, start)
    if version != STATFS_VERSION:
        raise OSError(errno.EINVAL, f"struct statfs has version {version:#x}, not {STATFS_VERSION:#x}")
    (flags,) = struct.unpack_from("Q", data, start + 8)
    fsid = struct.unpack_from("ii", data, start + 192)
    fstype, source, path = (_decode(data[start + at : start + at + size]) for at, size in _STATFS_TEXTS)
    return Mounted((fsid[0], fsid[1]), fstype, source, path, flags)


_STATFS_TEXTS = ((280, 16), (296, 1024), (1320, 1024))  # f_fstypename, f_mntfromname, f_mntonname


def _proc(data: bytes, start: int) -> Proc:
    (size,) = struct.unpack_from("i", data, start)
    if size != KINFO_SIZE:
        raise OSError(errno.EINVAL, f"struct kinfo_proc has {size} bytes, not {KINFO_SIZE}")
    (pid,) = struct.unpack_from("i", data, start + 72)
    (resident,) = struct.unpack_from("q", data, start + 264)
    runtime, seconds, micros = struct.unpack_from("Qqq", data, start + 328)
    (jid,) = struct.unpack_from("i", data, start + 592)
    command = _decode(data[start + 447 : start + 467])
    return Proc(pid, seconds * 1000000 + micros, data[start + 388], jid, command, runtime, resident)
