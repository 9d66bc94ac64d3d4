"""Extended attributes and file flags of FreeBSD, which Python does not offer by descriptor: extattr(2), chflags(2)."""

import ctypes
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = {b"user": 1, b"system": 2}  # sys/extattr.h
AT_SYMLINK_NOFOLLOW = 0x200
# sys/stat.h; the names are those of strtofflags(3) and of `SCHILY.fflags`
FLAGS = {
    b"nodump": 0x1,
    b"uchg": 0x2,
    b"uappnd": 0x4,
    b"opaque": 0x8,
    b"uunlnk": 0x10,
    b"usystem": 0x80,
    b"uarch": 0x800,
    b"urdonly": 0x1000,
    b"uhidden": 0x8000,
    b"arch": 0x10000,
    b"schg": 0x20000,
    b"sappnd": 0x40000,
    b"sunlnk": 0x100000,
}
LOCKING = sum(FLAGS[name] for name in (b"uchg", b"uappnd", b"uunlnk", b"schg", b"sappnd", b"sunlnk"))
LONGEST_LIST = 64 << 10  # bytes of all names in a namespace


def load() -> "Any":
    """Return the libc of this process."""
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def split(name: bytes) -> tuple[int, bytes]:
    """Return the namespace and the name of `user.NAME` or `system.NAME`, namespace 0 for others."""
    space, _, rest = name.partition(b".")
    return NAMESPACES.get(space, 0), rest


class Xattrs:
    """Extended attributes, named as Linux and bsdtar name them. libc: anything with the functions; tests have fakes."""

    def __init__(self, libc: "Any") -> None:
        self._libc = libc
        libc.extattr_set_fd.restype = libc.extattr_list_fd.restype = ctypes.c_ssize_t

    def known(self, name: bytes) -> bool:
        """Whether the system has a place for an attribute."""
        return bool(split(name)[0] and split(name)[1])

    def set(self, file: int, name: bytes, value: bytes) -> None:
        """Set an attribute of an open file or directory."""
        space, rest = split(name)
        written = _checked(self._libc.extattr_set_fd(file, space, rest, value, ctypes.c_size_t(len(value))))
        if written < len(value):
            raise OSError(errno.EIO, "an extended attribute was cut short")

    def clear(self, file: int) -> None:
        """Remove all attributes of an open file or directory."""
        for space in NAMESPACES.values():
            names = ctypes.create_string_buffer(LONGEST_LIST)
            length = _checked(self._libc.extattr_list_fd(file, space, names, ctypes.c_size_t(LONGEST_LIST)))
            listed = names.raw[:length]
            while listed:  # a length and that many bytes, each
                name, listed = listed[1 : 1 + listed[0]], listed[1 + listed[0] :]
                _checked(self._libc.extattr_delete_fd(file, space, name))


class FileFlags:
    """File flags by name, e.g. b"schg,nodump"."""

    def __init__(self, libc: "Any") -> None:
        self._libc = libc

    def set(self, directory: int, name: bytes, flags: int) -> None:
        """Set the flags of a directory's entry, never following a link."""
        _checked(self._libc.chflagsat(directory, name, ctypes.c_ulong(flags), AT_SYMLINK_NOFOLLOW))

    def unlock(self, file: int) -> int:
        """Take away what keeps an open directory from being changed. Returns the flags it had, 0 when nothing did."""
        flags: int = getattr(os.fstat(file), "st_flags", 0)
        if not flags & LOCKING:
            return 0
        _checked(self._libc.fchflags(file, ctypes.c_ulong(0)))
        return flags


def parse(names: bytes) -> int:
    """Return the bits of flags by name; names of other systems mean nothing."""
    return sum({FLAGS.get(name, 0) for name in names.split(b",")})
