"""A FreeBSD kernel of Python, called through the real C calling convention.

`FakeKernel.find` is what dlsym(3) would be there: addresses of functions with the argument types that libc.py
declares. They read iovecs and write struct statfs and struct kinfo_proc by address, so a wrong layout fails here too.
What is answered is what FreeBSD 15.1 answered: errno values, texts and side effects as observed there.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import Any

from runjail.host.freebsd import libc as c
from runjail.host.freebsd import structs

NO_TEXT = ""
LETTERS = {
    "i": ctypes.c_int, "I": ctypes.c_uint, "l": ctypes.c_long, "q": ctypes.c_int64, "N": ctypes.c_size_t,
    "z": ctypes.c_char_p, "P": ctypes.c_void_p,
}  # fmt: skip
UNKNOWN_TO_TMPFS = {"nodev", "relatime", "noatime", "sync", "rprivate"}


class Refusal(Exception):
    """An errno, and the text for errmsg when the kernel has one."""

    def __init__(self, number: int, text: str = NO_TEXT) -> None:
        super().__init__(number, text)
        self.number, self.text = number, text


class Mount:
    """One entry of the mount table. busy: how many tries to unmount it fail."""

    def __init__(
        self, fsid: tuple[int, int], fstype: str, source: str, path: str, flags: int = 0, busy: int = 0
    ) -> None:
        self.fsid, self.fstype, self.source, self.path, self.flags, self.busy = fsid, fstype, source, path, flags, busy


class FakeKernel:
    """State of the fake. Tests set it up and look at it; `calls` is what was asked, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._made: dict[str, Any] = {}  # functions must live as long as somebody may call them
        self.jails: dict[int, tuple[str, str]] = {}
        self.vnets: set[str] | None = set()  # names of jails with network stacks of their own; None: a kernel without
        self.dying: dict[int, int] = {}  # jid to how many looks it takes until it is gone
        self.descriptors: dict[int, int] | None = {}  # of jails: descriptor to jid; None: a kernel without them
        self.mounts = [Mount((1, 1), "ufs", "/dev/vtbd0p2", "/"), Mount((2, 2), "devfs", "devfs", "/dev")]
        self.procs: list[dict[str, int | str]] = []
        self.boottime = 1795380979_100253
        self.sysctls = {
            "kern.racct.enable": struct.pack("i", 1),
            "kern.features.vimage": struct.pack("i", 1),
            "security.jail.meta_maxbufsize": struct.pack("i", 4096),
            "kern.elf64.fallback_brand": struct.pack("i", -1),
        }
        self.rules: list[str] = []  # rctl(8) lines
        self.racct: dict[str, str] = {}
        self.accounting = True
        self.refuse: dict[str, Refusal] = {}  # calls that fail whatever their arguments
        self.ignored_flags = 0  # mount flags that the kernel forgets
        self.moved = ""  # where mounts land when somebody moves the mount point
        self.pts = ""
        self.rulesets: dict[int, list[str]] = {}  # of devfs; the fake devfs(8) has the same
        self.add_process(9, command="syncer", start=1_234_567)

    # -- state

    def add_process(
        self, pid: int, jid: int = 0, start: int = 5_000_000, state: int = 3, command: str = "sh", **more: int
    ) -> None:
        """start: microseconds after boot."""
        self.procs.append({"pid": pid, "jid": jid, "start": start, "state": state, "command": command, **more})

    def add_mount(self, path: str, fstype: str = "nullfs", source: str = "/src", busy: int = 0) -> Mount:
        number = 100 + max(mount.fsid[0] for mount in self.mounts)
        mount = Mount((number, -number), fstype, source, path, busy=busy)
        self.mounts.append(mount)
        return mount

    def paths(self) -> list[str]:
        """Return what is mounted beyond the base system."""
        return [mount.path for mount in self.mounts[2:]]

    # -- libc

    def find(self, name: str) -> int:
        """Return the address of a function."""
        function = self._made[name] = self._function(name, [LETTERS[letter] for letter in c.SIGNATURES[name]])
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    def libc(self) -> c.Libc:
        return c.Libc(self.find)

    def _function(self, name: str, arguments: Any) -> Any:
        method: Callable[..., int] = getattr(self, f"_{name}")

        def entered(*values: Any) -> int:
            try:
                if name in self.refuse:
                    raise self.refuse[name]
                return method(*values) or 0
            except Refusal as refusal:
                ctypes.set_errno(refusal.number)
                if refusal.text:
                    _write_text(_pairs(values[0], values[1])["errmsg"], refusal.text)
                return -1

        result = ctypes.c_void_p if name == "ptsname" else ctypes.c_int
        return ctypes.CFUNCTYPE(result, *arguments, use_errno=True)(entered)

    # -- jails

    def _jail_get(self, vector: Any, count: int, flags: int) -> int:
        pairs = _pairs(vector, count)
        if flags & (c.JAIL_GET_DESC | c.JAIL_USE_DESC) and self.descriptors is None:
            raise Refusal(errno.EINVAL)
        if flags & c.JAIL_USE_DESC:
            jid = (self.descriptors or {})[struct.unpack("i", _read(pairs["desc"]))[0]]
        elif "lastjid" in pairs:
            last = struct.unpack("i", _read(pairs["lastjid"]))[0]
            jid = min((jid for jid in self.jails if jid > last), default=0)
            if not jid:
                raise Refusal(errno.ENOENT, f"no jail after {last}")
        elif "jid" in pairs:
            jid = struct.unpack("i", _read(pairs["jid"]))[0]
        else:
            wanted = _read(pairs["name"]).rstrip(b"\0").decode()
            if wanted.isdigit():
                raise Refusal(errno.ENOENT, f'jail "{wanted}" not found')
            jid = next((jid for jid, (name, _) in self.jails.items() if name == wanted and jid not in self.dying), 0)
        if jid in self.dying:
            if not flags & c.JAIL_DYING:
                raise Refusal(errno.ENOENT, f"jail {jid} is dying")
            self.dying[jid] -= 1
            if self.dying[jid] < 0:
                del self.jails[jid], self.dying[jid]
        if jid not in self.jails:
            raise Refusal(errno.ENOENT, f"jail {jid} not found")
        name, path = self.jails[jid]
        if flags & c.JAIL_GET_DESC and self.descriptors is not None:
            descriptor = os.open("/dev/null", os.O_RDONLY)
            os.set_inheritable(descriptor, True)
            self.descriptors[descriptor] = jid
            ctypes.memmove(pairs["desc"][0], struct.pack("i", descriptor), 4)
            return jid
        if "vnet" in pairs:
            if self.vnets is None:
                raise Refusal(errno.EINVAL, "unknown parameter: vnet")
            ctypes.memmove(pairs["vnet"][0], struct.pack("i", 1 if name in self.vnets else 2), 4)
            return jid
        if "name" in pairs and pairs["name"][1] == c.NAME_MAX:
            _write_text(pairs["name"], name, c.NAME_MAX)
        _write_text(pairs["path"], path, c.PATH_MAX)
        return jid

    def _jail_attach(self, jid: int) -> None:
        self.calls.append(("jail_attach", jid))
        if jid not in self.jails or jid in self.dying:
            raise Refusal(errno.EINVAL)

    def _jail_remove(self, jid: int) -> None:
        self.calls.append(("jail_remove", jid))
        if jid not in self.jails:
            raise Refusal(errno.EINVAL)
        if jid not in self.dying:
            self.dying[jid] = 0
        self.procs = [proc for proc in self.procs if proc["jid"] != jid]

    def _jail_remove_jd(self, descriptor: int) -> None:
        self.calls.append(("jail_remove_jd", descriptor))
        self._jail_remove((self.descriptors or {})[descriptor])

    def _cpuset_setaffinity(self, level: int, which: int, jid: int, size: int, mask: int) -> None:
        words = struct.unpack(f"{size // 8}Q", ctypes.string_at(mask, size))
        cpus = [64 * i + bit for i, word in enumerate(words) for bit in range(64) if word >> bit & 1]
        self.calls.append(("cpuset", level, which, jid, cpus))
        if max(cpus) > 3:
            raise Refusal(errno.EINVAL)

    def _rtprio(self, function: int, pid: int, wanted: int) -> None:
        kind, priority = struct.unpack("HH", ctypes.string_at(wanted, 4))
        self.calls.append(("rtprio", function, pid, kind, priority))
        if pid not in {proc["pid"] for proc in self.procs}:
            raise Refusal(errno.ESRCH)

    # -- mounts

    def _nmount(self, vector: Any, count: int, flags: int) -> None:
        pairs = {name: _read(value).rstrip(b"\0").decode() for name, value in _pairs(vector, count).items()}
        del pairs["errmsg"]
        self.calls.append(("nmount", pairs, flags))
        fstype, fspath = pairs["fstype"], pairs["fspath"]
        if fstype == "tmpfs":
            for option in UNKNOWN_TO_TMPFS & pairs.keys():
                raise Refusal(errno.EINVAL, f"mount option <{option}> is unknown")
        if fstype in ("nullfs", "zfs") and "from" not in pairs:
            raise Refusal(errno.EINVAL)
        place = os.path.realpath(fspath)
        if len(place) > 1023:
            raise Refusal(errno.ENOMEM)
        if flags & c.MNT_UPDATE:
            return
        bits = flags & (c.MNT_RDONLY | c.MNT_NOSUID | c.MNT_NOEXEC)
        if fstype == "zfs":
            words = {"ro": c.MNT_RDONLY, "nosetuid": c.MNT_NOSUID, "noexec": c.MNT_NOEXEC}
            bits = sum(words.get(name, 0) for name in pairs)
        if fstype in ("devfs", "fdescfs"):
            bits = 0
        mount = self.add_mount(self.moved or place, fstype, pairs.get("from", fstype))
        mount.flags = bits & ~self.ignored_flags

    def _unmount(self, name: bytes, flags: int) -> None:
        first, second = name.removeprefix(b"FSID:").split(b":")
        fsid = (int(first), int(second))
        mount = next((mount for mount in self.mounts if mount.fsid == fsid), None)
        assert flags & c.MNT_BYFSID
        self.calls.append(("unmount", mount and mount.path, bool(flags & c.MNT_FORCE)))
        if not mount:
            raise Refusal(errno.ENOENT)
        later = self.mounts[self.mounts.index(mount) + 1 :]
        above = any((other.path + "/").startswith(mount.path + "/") for other in later)
        if (mount.busy or above) and not flags & c.MNT_FORCE:
            mount.busy -= 1 if mount.busy else 0
            raise Refusal(errno.EBUSY)
        self.mounts.remove(mount)

    def _getfsstat(self, buffer: int | None, size: int, mode: int) -> int:
        assert mode == c.MNT_NOWAIT
        if buffer is None:
            return len(self.mounts)
        fitting = self.mounts[: size // structs.STATFS_SIZE]
        ctypes.memmove(buffer, b"".join(_statfs(mount) for mount in fitting), len(fitting) * structs.STATFS_SIZE)
        return len(fitting)

    def _statfs(self, path: bytes, buffer: int) -> None:
        place = os.path.realpath(path.decode())
        if self.moved:
            place = self.moved
        found = [mount for mount in self.mounts if mount.path in (place, "/") or place.startswith(mount.path + "/")]
        ctypes.memmove(
            buffer, _statfs(max(found, key=lambda mount: (len(mount.path), mount.fsid[0]))), structs.STATFS_SIZE
        )

    def _ioctl(self, descriptor: int, request: int, rule: int) -> None:
        assert request == c.DEVFSIO_RGETNEXT and os.path.samestat(os.fstat(descriptor), os.stat("/dev"))
        magic, number = struct.unpack("II", ctypes.string_at(rule, 8))
        assert magic == c.DEVFS_MAGIC and number & 0xFFFF == 0
        if not self.rulesets.get(number >> 16):
            raise Refusal(errno.ENOENT)

    # -- processes and variables

    def _sysctl(self, mib: int, count: int, out: int | None, size: int, _new: Any, _length: int) -> None:
        names = struct.unpack(f"{count}i", ctypes.string_at(mib, 4 * count))
        if names[:3] == c.KERN_PROC_PID:
            procs = [proc for proc in self.procs if proc["pid"] == names[3]]
            if not procs:
                raise Refusal(errno.ESRCH)
        else:
            assert names == c.KERN_PROC_PROC
            procs = self.procs
        self._answer(b"".join(self._kinfo(proc) for proc in procs), out, size)

    def _sysctlbyname(self, name: bytes, out: int | None, size: int, _new: Any, _length: int) -> None:
        values = self.sysctls | {"kern.boottime": struct.pack("qq", *divmod(self.boottime, 1000000))}
        if name.decode() not in values:
            raise Refusal(errno.ENOENT)
        self._answer(values[name.decode()], out, size)

    def _answer(self, data: bytes, out: int | None, size: int) -> None:
        length = ctypes.c_size_t.from_address(size)
        room = length.value
        length.value = len(data)
        if out is None:
            return
        if room < len(data):
            raise Refusal(errno.ENOMEM)
        ctypes.memmove(out, data, len(data))

    def _kinfo(self, proc: dict[str, Any]) -> bytes:
        data = bytearray(structs.KINFO_SIZE)
        struct.pack_into("i", data, 0, structs.KINFO_SIZE)
        struct.pack_into("i", data, 72, proc["pid"])
        struct.pack_into("I", data, 104, proc.get("siglist", 0))
        struct.pack_into("q", data, 264, proc.get("resident", 0))
        struct.pack_into("Qqq", data, 328, proc.get("runtime", 0), *divmod(self.boottime + proc["start"], 1000000))
        struct.pack_into("q", data, 368, proc.get("flag", 0))
        struct.pack_into("I", data, 580, proc.get("flag2", 0))
        data[388] = proc["state"]
        data[447 : 447 + len(proc["command"])] = proc["command"].encode()
        struct.pack_into("i", data, 592, proc["jid"])
        return bytes(data)

    def _procctl(self, idtype: int, pid: int, command: int, value: int | None) -> None:
        assert (idtype, pid) == (0, 0)
        self.calls.append(("procctl", command, ctypes.c_int.from_address(value).value if value else None))

    # -- resources

    def _rctl_add_rule(self, text: bytes, size: int, _out: Any, _room: int) -> None:
        rule, amount = self._rctl(text, size).split("=")
        if rule.endswith("cputime:deny"):
            raise Refusal(errno.EOPNOTSUPP)
        if not amount.isdigit() or ":nosuch:" in rule:
            raise Refusal(errno.EINVAL)
        if rule.endswith(":deny"):  # kern_rctl.c, rctl_rule_add: of the others only an identical one is replaced
            self.rules = [other for other in self.rules if other.partition("=")[0] != rule]
        if f"{rule}={amount}" not in self.rules:
            self.rules.append(f"{rule}={amount}")

    def _rctl_remove_rule(self, text: bytes, size: int, _out: Any, _room: int) -> None:
        rule = self._rctl(text, size)
        kept = [other for other in self.rules if other != rule and not other.startswith((rule + ":", rule + "="))]
        if kept == self.rules:
            raise Refusal(errno.ESRCH)
        self.rules = kept

    def _rctl_get_racct(self, text: bytes, size: int, out: int, room: int) -> None:
        self._say(self.racct.get(self._rctl(text, size), "cputime=0,memoryuse=0,maxproc=0,swapuse=0"), out, room)

    def _rctl_get_rules(self, text: bytes, size: int, out: int, room: int) -> None:
        subject = self._rctl(text, size)
        self._say(",".join(rule for rule in self.rules if rule.startswith(subject + ":")), out, room)

    def _say(self, text: str, out: int, room: int) -> None:
        if len(text) + 1 > room:
            raise Refusal(errno.ERANGE)
        ctypes.memmove(out, text.encode() + b"\0", len(text) + 1)

    def _rctl(self, text: bytes, size: int) -> str:
        assert size == len(text) + 1
        if not self.accounting:
            raise Refusal(errno.ENOSYS)
        return text.decode()

    # -- terminals

    def _posix_openpt(self, flags: int) -> int:
        assert flags & os.O_NOCTTY
        master, slave = os.openpty()
        self._pts = ctypes.create_string_buffer((self.pts or os.ttyname(slave)).encode())
        self._held = slave  # on Linux the slave must stay open, or the name is no device any more
        return master

    def _grantpt(self, master: int) -> None:
        os.fstat(master)

    def _unlockpt(self, master: int) -> None:
        os.fstat(master)

    def _ptsname(self, master: int) -> int | None:
        os.close(self._held)
        return None if self.pts == "none" else ctypes.addressof(self._pts)


def _pairs(vector: int, count: int) -> dict[str, tuple[int, int]]:
    """Return name to (address, length) of an iovec array; a name given twice hides its first value."""
    numbers = struct.unpack("PN" * count, ctypes.string_at(vector, 16 * count))
    entries = list(zip(numbers[::2], numbers[1::2], strict=True))
    return {
        ctypes.string_at(address).decode(): value
        for (address, _), value in zip(entries[::2], entries[1::2], strict=True)
    }


def _read(value: tuple[int, int]) -> bytes:
    address, length = value
    return ctypes.string_at(address, length) if length else b""


def _write_text(value: tuple[int, int], text: str, needed: int = 0) -> None:
    address, length = value
    if length < needed:
        raise Refusal(errno.EINVAL)
    ctypes.memmove(address, text.encode() + b"\0", len(text.encode()) + 1)


def _statfs(mount: Mount) -> bytes:
    data = bytearray(structs.STATFS_SIZE)
    struct.pack_into("IIQ", data, 0, structs.STATFS_VERSION, 0, mount.flags)
    struct.pack_into("ii", data, 192, *mount.fsid)
    for at, text in ((280, mount.fstype), (296, mount.source), (1320, mount.path)):
        data[at : at + len(text.encode())] = text.encode()
    return bytes(data)
