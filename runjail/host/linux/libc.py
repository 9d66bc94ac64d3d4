"""The Linux system calls that Python 3.11 does not offer, each with a checked signature.

Through `_ctypes`, the C half of ctypes: the Python half defines forty types nobody needs here, which costs every
`create` and `exec` 2 ms.
"""

from __future__ import annotations

import _ctypes
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_POSIXACL = 1 << 16
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25
MNT_DETACH = 2

# Whose system calls ours are: a 32-bit Python on a 64-bit kernel has other numbers than the kernel's name says
MACHINE = os.uname().machine if sys.maxsize > 1 << 32 else f"{os.uname().machine} with 32 bits"
SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}.get(MACHINE, -1)
CLONE_PARENT = 0x00008000
SYS_PIDFD_GETFD = 438  # on every machine
SIGCHLD = 17

PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEY_POS_ALL = 0x3F000000  # every right for who has it in a keyring of its own, none for others

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
BPF_ATTRIBUTES = 128  # bytes; the kernel takes more than it knows, as long as that is zero


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Unsigned(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "I"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"  # also size_t


class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"  # char *, or NULL for None


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "B"


class _Function(_ctypes.CFuncPtr):
    """A function of libc that returns an int, -1 for failure with the cause in errno."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


def _declare(name: str, *arguments: type) -> _Function:
    function = _Function(_ctypes.dlsym(_HANDLE, name))
    function.argtypes = arguments
    return function


_HANDLE = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself, libc included
_mount = _declare("mount", _Text, _Text, _Text, _Long, _Text)
_umount2 = _declare("umount2", _Text, _Int)
_unshare = _declare("unshare", _Int)
_setns = _declare("setns", _Int, _Int)
_pivot_root = _declare("pivot_root", _Text, _Text)
_setdomainname = _declare("setdomainname", _Text, _Long)
_prctl = _declare("prctl", _Int, _Long, _Long, _Long, _Long)
_bpf = _declare("syscall", _Long, _Long, _Pointer, _Long)
_capset = _declare("capset", _Pointer, _Pointer)
_memset = _declare("memset", _Pointer, _Int, _Long)
_clone = _declare("syscall", _Long, _Long, _Long, _Long, _Long, _Long)
_syscall = _declare("syscall", _Long, _Long, _Long, _Long)
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}.get(MACHINE)  # glibc has no function for it


_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}.get(MACHINE)


def _checked(result: int) -> int:
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    _checked(_mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data)))


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_umount2(_bytes(target), flags))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """setns(2): enter the namespace behind an open /proc/PID/ns file; kind is its CLONE_ flag."""
    _checked(_setns(descriptor, kind))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_pivot_root(_bytes(new), _bytes(old)))


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = os.fsencode(name)
    _checked(_setdomainname(encoded, len(encoded)))


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """prctl(2) with up to two numeric arguments."""
    return _checked(_prctl(option, first, second, 0, 0))


def clone_sibling() -> int:
    """clone(2) without what C libraries do around it: fork a child of our parent. Returns its pid, 0 in the child.

    For processes with one thread. The machines that we know agree on the first two arguments; the others are zero.
    Raises OSError, on another machine one that says so.
    """
    if SYS_CLONE < 0:
        raise OSError(errno.ENOSYS, f"the number of clone(2) is not known on {MACHINE}")
    return _checked(_clone(SYS_CLONE, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0))


def wipe(address: int, length: int) -> None:
    """Overwrite memory of ours with zeros (memset(3))."""
    _memset(address, 0, length)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of this thread; each argument is a bit mask of capabilities 0 to 63."""
    low = 0xFFFFFFFF
    masks = (effective, permitted, inheritable)
    header = (_Unsigned * 2)(CAPABILITY_VERSION_3, 0)
    data = (_Unsigned * 6)(*[mask & low for mask in masks], *[mask >> 32 for mask in masks])
    _checked(_capset(_ctypes.addressof(header), _ctypes.addressof(data)))


def new_session_keyring() -> None:
    """Leave the session keyring for a new one without a name, which only its possessors see: keyctl(2).

    Raises OSError, ENOSYS where the kernel has no keyrings.
    """
    if _KEYCTL is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    serial = _checked(_syscall(_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, 0, 0))
    _checked(_syscall(_KEYCTL, KEYCTL_SETPERM, serial, KEY_POS_ALL))


def call(numbers: dict[str, int], first: int, second: int = 0, third: int = 0) -> int:
    """Make a system call that glibc has no function for; numbers: of it, by machine. Raises OSError."""
    if MACHINE not in numbers:
        raise OSError(errno.ENOSYS, f"the number of this system call is not known on {MACHINE}")
    return _checked(_syscall(numbers[MACHINE], first, second, third))


def seccomp(operation: int, flags: int, program: int) -> int:
    """seccomp(2), for which glibc has no function; prctl(2) takes no flags."""
    if _SECCOMP is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return _checked(_syscall(_SECCOMP, operation, flags, program))


def take_descriptor(pid: int, number: int) -> int:
    """pidfd_getfd(2), Linux 5.6: return a descriptor of what another process has open under a number."""
    process = os.pidfd_open(pid)
    try:
        return _checked(_syscall(SYS_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)


def buffer(content: bytes) -> Any:
    """Return memory that holds `content`, for as long as the caller keeps it."""
    return (_Byte * len(content)).from_buffer_copy(content)


def address(memory: Any) -> int:
    """Return where a buffer is."""
    return _ctypes.addressof(memory)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2) with the given attributes, the rest of which is zero."""
    return _call_bpf(command, buffer(attributes.ljust(BPF_ATTRIBUTES, b"\0")))


def bpf_answer(command: int, attributes: bytes) -> bytes:
    """bpf(2) of a command that answers in its attributes."""
    memory = buffer(attributes.ljust(BPF_ATTRIBUTES, b"\0"))
    _call_bpf(command, memory)
    return bytes(memory)


def _call_bpf(command: int, memory: Any) -> int:
    number = SYS_BPF.get(MACHINE)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return _checked(_bpf(number, command, address(memory), BPF_ATTRIBUTES))
