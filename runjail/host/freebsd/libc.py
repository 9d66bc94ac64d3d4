"""The FreeBSD system calls we make, as typed methods that raise OSError. No policy here.

Section 2 of the manual has each by its own name. Through `_ctypes`, the C half of ctypes: the Python half would cost
every verb, `state` included, as much as all of our own code. `_struct` is that of struct, whose own file would be
searched for. Importing this module touches no library.
"""

from __future__ import annotations

import _ctypes
import _struct
import errno
import os

from runjail.host.freebsd.structs import KINFO_SIZE, STATFS_SIZE, Jail, MountEntry, Proc, read_kinfo, read_statfs, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Value = str | int | _ctypes.Array[Any] | None  # None: present without a value

JAIL_SYS_NEW = 1
JAIL_DYING, JAIL_USE_DESC, JAIL_GET_DESC = 8, 0x10, 0x40
MNT_RDONLY, MNT_SYNC, MNT_NOEXEC, MNT_NOSUID = 0x1, 0x2, 0x4, 0x8
MNT_NOSYMFOLLOW, MNT_NOATIME, MNT_UPDATE = 0x400000, 0x10000000, 0x10000
MNT_FORCE, MNT_BYFSID, MNT_NOWAIT = 0x80000, 0x8000000, 2
PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE = 7, 2
PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE = 19, 1
KERN_PROC_PID, KERN_PROC_PROC = (1, 14, 1), (1, 14, 8, 0)
PROC_REAP_KILL, REAPER_KILL_SIZE = 6, 80  # bytes of struct procctl_reaper_kill, the signal first; flags 0: everybody
CPU_LEVEL_WHICH, CPU_WHICH_PID, CPU_WHICH_JAIL, CPU_SETSIZE = 3, 2, 5, 1024
RTP_SET = 1
# struct devfs_rule begins with DEVFS_MAGIC and the number of a rule, the ruleset in its upper half (fs/devfs/devfs.h).
DEVFSIO_RGETNEXT, DEVFS_MAGIC, DEVFS_RULE_SIZE = 0xC0EC4404, 0xDB0A087A, 236
NAME_MAX, PATH_MAX = 256, 1024  # buffers for a jail's name and path; smaller ones are EINVAL

# Arguments in the letters of struct(3): i int, I unsigned, l long, q int64, N size_t, z char *, P other pointers.
SIGNATURES = {
    "jail_get": "PIi",
    "jail_attach": "i",
    "jail_remove": "i",
    "jail_remove_jd": "i",
    "nmount": "PIi",
    "unmount": "zi",
    "getfsstat": "Pli",
    "statfs": "zP",
    "procctl": "iqiP",
    "sysctl": "PIPPPN",
    "sysctlbyname": "zPPPN",
    "rctl_add_rule": "zNPN",
    "rctl_remove_rule": "zNPN",
    "rctl_get_racct": "zNPN",
    "rctl_get_rules": "zNPN",
    "cpuset_setaffinity": "iiqNP",
    "rtprio": "iiP",
    "ioctl": "iNP",
    "posix_openpt": "i",
    "grantpt": "i",
    "unlockpt": "i",
    "ptsname": "i",
}
_C_LETTERS = {"N": "L"}  # size_t is an unsigned long here, and ctypes has no letter for it


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


def _type(letter: str) -> type:
    return type(letter, (_ctypes._SimpleCData,), {"_type_": letter})


_TYPES = {letter: _type(_C_LETTERS.get(letter, letter)) for letter in "iIlqNzP"}


def buffer(size: int, data: bytes = b"") -> _ctypes.Array[Any]:
    """Return memory that the kernel may write to; read it with bytes()."""
    memory: _ctypes.Array[Any] = type("Buffer", (_ctypes.Array,), {"_type_": _Char, "_length_": size})()
    memory.value = data[:size]
    return memory


def string_behind(pointer: _ctypes.Array[Any]) -> bytes:
    """Return the string that a pointer in memory leads to, b"" for NULL."""
    found: bytes | None = _TYPES["z"].from_buffer(pointer).value  # type: ignore[attr-defined]
    return found or b""


class Library:
    """A C library. find: returns the address of a function by name; tests have functions of their own.

    signatures: the arguments of each in letters as above. All return an int but ptsname.
    """

    def __init__(self, find: Callable[[str], int], signatures: Mapping[str, str]) -> None:
        self._find, self._signatures = find, signatures
        self._functions: dict[str, Callable[..., Any]] = {}

    def _function(self, name: str) -> Callable[..., Any]:
        function = self._functions.get(name)
        if function is None:
            flags = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            result = _TYPES["z" if name == "ptsname" else "i"]
            kind: Any = type(name, (_ctypes.CFuncPtr,), {"_flags_": flags, "_restype_": result})
            function = self._functions[name] = kind(self._find(name))
            function.argtypes = tuple(_TYPES[letter] for letter in self._signatures[name])
        return function

    def call(self, name: str, *arguments: int | bytes | None) -> int:
        """Call a function and return what it returns."""
        result: int = self._function(name)(*arguments)
        return result


class Libc(Library):
    """libc.so.7."""

    def __init__(self, find: Callable[[str], int]) -> None:
        super().__init__(find, SIGNATURES)

    def _call(self, name: str, *arguments: int | bytes | None) -> int:
        result: int = self._function(name)(*arguments)
        if result < 0:
            number = _ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _call_pairs(self, name: str, pairs: Sequence[tuple[str, Value]], flags: int) -> int:
        """Make a call whose arguments are names and values; its error text, where it gives one, is the kernel's own."""
        message = buffer(1024)
        memory = [_memory(item) for pair in (*pairs, ("errmsg", message)) for item in pair]
        entries = [(_ctypes.addressof(item), len(item)) if item is not None else (0, 0) for item in memory]
        vector = _struct.pack("PN" * len(entries), *(number for entry in entries for number in entry))
        iovecs = _exactly(vector)
        result: int = self._function(name)(_ctypes.addressof(iovecs), len(entries), flags)
        if result < 0:
            number = _ctypes.get_errno()
            raise OSError(number, text(bytes(message)) or os.strerror(number))
        return result

    # -- jails

    def jail(self, which: int | str, dying: bool = False) -> Jail | None:
        """Return the jail with this jid or full name, None when there is none. dying: count those being removed."""
        name, path = buffer(NAME_MAX), buffer(PATH_MAX)
        # Never ask for a parameter that is also the key: the second one hides the first.
        key: tuple[str, Value] = ("jid", which) if isinstance(which, int) else ("name", which)
        wanted: list[tuple[str, Value]] = [("name", name)] if isinstance(which, int) else []
        try:
            jid = self._call_pairs("jail_get", [key, *wanted, ("path", path)], JAIL_DYING if dying else 0)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return Jail(jid, which if isinstance(which, str) else text(bytes(name)), text(bytes(path)))

    def jails(self) -> Iterator[Jail]:
        """Yield all live jails below ours, by jid."""
        last = 0
        while True:
            name, path = buffer(NAME_MAX), buffer(PATH_MAX)
            try:
                last = self._call_pairs("jail_get", [("lastjid", last), ("name", name), ("path", path)], 0)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            yield Jail(last, text(bytes(name)), text(bytes(path)))

    def has_vnet(self, name: str) -> bool:
        """Whether a jail has a network stack of its own, rather than that of whom it is in. ENOENT: no such jail."""
        own = buffer(4)
        self._call_pairs("jail_get", [("name", name), ("vnet", own)], 0)
        return bool(_struct.unpack("i", bytes(own))[0] == JAIL_SYS_NEW)

    def jail_attach(self, jid: int) -> None:
        """Move this process into a jail for good. EPERM while a directory is open, EINVAL when there is no jail."""
        self._call("jail_attach", jid)

    def jail_remove(self, jid: int) -> None:
        """Kill everything in a jail and remove it, with its children. EINVAL when there is no such jail."""
        self._call("jail_remove", jid)

    def jail_descriptor(self, jid: int) -> int:
        """Return a descriptor that stands for this very jail, -1 in a kernel without them. ENOENT: no such jail."""
        descriptor = buffer(4)
        try:
            self._call_pairs("jail_get", [("jid", jid), ("desc", descriptor)], JAIL_GET_DESC)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return -1
            raise
        number: int = _struct.unpack("i", bytes(descriptor))[0]
        os.set_inheritable(number, False)
        return number

    def jail_behind(self, descriptor: int) -> Jail | None:
        """Return the jail of a descriptor, None when it is gone."""
        name, path = buffer(NAME_MAX), buffer(PATH_MAX)
        try:
            jid = self._call_pairs("jail_get", [("desc", descriptor), ("name", name), ("path", path)], JAIL_USE_DESC)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return Jail(jid, text(bytes(name)), text(bytes(path)))

    def jail_remove_jd(self, descriptor: int) -> None:
        """Do as jail_remove does. EINVAL when the jail is gone."""
        self._call("jail_remove_jd", descriptor)

    def set_jail_cpus(self, jid: int, cpus: Sequence[int]) -> None:
        """Restrict a jail to these CPUs, numbers below CPU_SETSIZE. EINVAL, EDEADLK when the machine lacks them."""
        self._set_cpus(CPU_WHICH_JAIL, jid, cpus)

    def set_process_cpus(self, pid: int, cpus: Sequence[int]) -> None:
        """Restrict a process likewise, also with EINVAL for a CPU beyond CPU_SETSIZE."""
        if cpus[-1] >= CPU_SETSIZE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._set_cpus(CPU_WHICH_PID, pid, cpus)

    def rtprio(self, pid: int, kind: int, priority: int) -> None:
        """Give a process a scheduling class (RTP_PRIO_*) and a priority in it, 0 the highest."""
        wanted = _exactly(_struct.pack("HH", kind, priority))
        self._call("rtprio", RTP_SET, pid, _ctypes.addressof(wanted))

    def _set_cpus(self, which: int, number: int, cpus: Sequence[int]) -> None:
        words = [0] * (CPU_SETSIZE // 64)  # struct cpuset: an array of long, lowest CPUs first
        for cpu in cpus:
            words[cpu // 64] |= 1 << cpu % 64
        mask = _exactly(_struct.pack(f"{len(words)}Q", *words))
        self._call("cpuset_setaffinity", CPU_LEVEL_WHICH, which, number, len(mask), _ctypes.addressof(mask))

    # -- mounts

    def nmount(self, options: Sequence[tuple[str, str | None]], flags: int) -> None:
        """Mount. options: fstype, fspath and so on; flags: MNT_* bits."""
        self._call_pairs("nmount", options, flags)

    def unmount(self, fsid: tuple[int, int], force: bool = False) -> None:
        """Unmount by file system id. ENOENT when it is not mounted, EBUSY when it is in use."""
        self._call("unmount", b"FSID:%d:%d" % fsid, MNT_BYFSID | (MNT_FORCE if force else 0))

    def mounts(self) -> list[MountEntry]:
        """Return the mount table, oldest first."""
        count = self._call("getfsstat", None, 0, MNT_NOWAIT)
        while True:
            room = count + 16
            table = buffer(room * STATFS_SIZE)
            count = self._call("getfsstat", _ctypes.addressof(table), len(table), MNT_NOWAIT)
            if count < room:  # a full buffer may have been too small
                data = bytes(table)
                return [read_statfs(data, index * STATFS_SIZE) for index in range(count)]

    def statfs(self, path: str) -> MountEntry:
        """Return the mount that `path` is on, or is."""
        found = buffer(STATFS_SIZE)
        self._call("statfs", os.fsencode(path), _ctypes.addressof(found))
        return read_statfs(bytes(found))

    def has_device_rules(self, ruleset: int) -> bool:
        """Whether a devfs ruleset of this machine has a rule; one that was never loaded has none. EPERM in a jail."""
        rule = buffer(DEVFS_RULE_SIZE, _struct.pack("II", DEVFS_MAGIC, ruleset << 16))
        directory = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._call("ioctl", directory, DEVFSIO_RGETNEXT, _ctypes.addressof(rule))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        finally:
            os.close(directory)
        return True

    # -- processes

    def procctl(self, command: int, value: int | None) -> None:
        """Set a property of this process; some commands take no value."""
        memory = None if value is None else _exactly(_struct.pack("i", value))
        self._call("procctl", 0, 0, command, _ctypes.addressof(memory) if memory else None)

    def reap_kill(self, signal: int) -> None:
        """Signal every descendant of this process, a reaper; nobody there is success (PROC_REAP_KILL)."""
        memory = buffer(REAPER_KILL_SIZE, _struct.pack("i", signal))
        try:
            self._call("procctl", 0, 0, PROC_REAP_KILL, _ctypes.addressof(memory))
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def process(self, pid: int) -> Proc | None:
        """Return one process, zombies included; None when there is none."""
        try:
            return read_kinfo(self._sysctl((*KERN_PROC_PID, pid), KINFO_SIZE))
        except OSError as error:
            if error.errno == errno.ESRCH:
                return None
            raise

    def processes(self) -> list[Proc]:
        """Return all processes, zombies included."""
        while True:
            size = buffer(8)
            names = _exactly(_struct.pack("4i", *KERN_PROC_PROC))
            self._call("sysctl", _ctypes.addressof(names), 4, None, _ctypes.addressof(size), None, 0)
            room = _struct.unpack("N", bytes(size))[0] + 8 * KINFO_SIZE  # some appear before the second call
            try:
                found = self._sysctl(KERN_PROC_PROC, room)
            except OSError as error:
                if error.errno == errno.ENOMEM:
                    continue
                raise
            return [read_kinfo(found, start) for start in range(0, len(found), KINFO_SIZE)]

    def _sysctl(self, mib: tuple[int, ...], room: int) -> bytes:
        names = _exactly(_struct.pack(f"{len(mib)}i", *mib))
        data, size = buffer(room), _exactly(_struct.pack("N", room))
        pointers = _ctypes.addressof(data), _ctypes.addressof(size)
        self._call("sysctl", _ctypes.addressof(names), len(mib), *pointers, None, 0)
        return bytes(data)[: _struct.unpack("N", bytes(size))[0]]

    def sysctl(self, name: str, room: int = 64) -> bytes:
        """Return the value of a kernel variable of up to `room` bytes. ENOENT when this kernel has none."""
        data, size = buffer(room), _exactly(_struct.pack("N", room))
        self._call("sysctlbyname", name.encode(), _ctypes.addressof(data), _ctypes.addressof(size), None, 0)
        return bytes(data)[: _struct.unpack("N", bytes(size))[0]]

    def boottime(self) -> int:
        """Return kern.boottime in microseconds. It moves when somebody sets the clock."""
        seconds, micros = _struct.unpack_from("qq", self.sysctl("kern.boottime"))
        return int(seconds * 1000000 + micros)

    # -- resources: rctl(8) words, amounts without suffixes. All raise ENOSYS while accounting is off.

    def rctl_add_rule(self, rule: str) -> None:
        """Add `jail:NAME:maxproc:deny=20`. A `deny` rule with another amount is replaced; every other one stays."""
        self._rctl("rctl_add_rule", rule, None)

    def rctl_remove_rule(self, rule: str) -> None:
        """Remove the rules that start with `jail:NAME:maxproc:deny`, with an amount only that one. ESRCH: none."""
        self._rctl("rctl_remove_rule", rule, None)

    def rctl_get_racct(self, subject: str) -> dict[str, int]:
        """Return what `jail:NAME` uses; all zeros when there is no such jail."""
        return self._rctl_read("rctl_get_racct", subject)

    def rctl_get_rules(self, subject: str) -> dict[str, int]:
        """Return the rules of `jail:NAME` with their amounts."""
        return self._rctl_read("rctl_get_rules", subject)

    def _rctl_read(self, name: str, subject: str) -> dict[str, int]:
        out = buffer(65536)
        self._rctl(name, subject, out)
        pairs = (entry.partition("=") for entry in text(bytes(out)).split(",") if entry)
        return {key: int(amount.partition("/")[0]) for key, _, amount in pairs}

    def _rctl(self, name: str, words: str, out: _ctypes.Array[Any] | None) -> None:
        data = words.encode()
        self._call(name, data, len(data) + 1, _ctypes.addressof(out) if out else None, len(out) if out else 0)

    # -- terminals

    def open_terminal(self) -> tuple[int, str]:
        """Return the master of a new pseudo-terminal and the path of its slave."""
        master = self._call("posix_openpt", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            self._call("grantpt", master)
            self._call("unlockpt", master)
            name: bytes | None = self._function("ptsname")(master)
            if not name:
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        except OSError:
            os.close(master)
            raise
        return master, os.fsdecode(name)


def load() -> Libc:
    """Return the libc of this process."""
    handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself, libc included
    return Libc(lambda name: _ctypes.dlsym(handle, name))


def _exactly(data: bytes) -> _ctypes.Array[Any]:
    """Return memory that holds data and not a byte more: the kernel compares lengths."""
    return buffer(len(data), data)


def _memory(value: Value) -> _ctypes.Array[Any] | None:
    if value is None or isinstance(value, _ctypes.Array):
        return value
    if isinstance(value, int):
        return _exactly(_struct.pack("i", value))
    if "\0" in value:  # the kernel would see the part before it
        raise OSError(errno.EINVAL, "a NUL character in a name")
    return _exactly(os.fsencode(value) + b"\0")
