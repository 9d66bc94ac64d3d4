"""Extended attributes and file flags of open files, on whichever system has them.

Attribute names are bytes as Linux and bsdtar write them: `user.NAME`, `system.NAME`. FreeBSD's two namespaces are these
two (extattr(2)); Linux has more (xattr(7)). Flags are FreeBSD's (chflags(2)): Linux has none of this kind, so setting
them does nothing there. Everything raises OSError as os does.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
ACLS = ("system.posix_acl_default", "system.posix_acl_access")  # linux/xattr.h
# sys/stat.h; the names are those of strtofflags(3) and of a tar's `SCHILY.fflags`
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


def parse_flags(names: bytes) -> int:
    """Return the bits of flags by name, e.g. b"schg,nodump"; names of other systems mean nothing."""
    return sum({FLAGS.get(name, 0) for name in names.split(b",")})


def read(file: int) -> dict[bytes, bytes]:
    """Return the attributes of an open file that layers carry, none where the file system has no attributes."""
    return {name: SYSTEM.get(file, name) for name in _names(file) if SYSTEM.carried(name)}


def clear(file: int) -> None:
    """Remove the attributes of an open file that layers carry."""
    for name in filter(SYSTEM.carried, _names(file)):
        SYSTEM.remove(file, name)


def copy(source: int, target: int) -> bool:
    """Copy all extended attributes of one open file to another, as far as its file system can have them.

    Returns whether there are any.
    """
    names = _names(source)
    for name in names:
        try:
            SYSTEM.set(target, name, SYSTEM.get(source, name))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    return bool(names)


def remove_acls(path: str) -> None:
    """Leave a directory with what its mode says: no ACL, and none for what is made in it."""
    try:
        SYSTEM.remove_acls(path)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _names(file: int) -> list[bytes]:
    try:
        return SYSTEM.names(file)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return []
        raise


class Linux:
    """xattr(7), which Python offers."""

    def carried(self, name: bytes) -> bool:
        """Whether layers carry an attribute: what else there is (trusted.*, security.selinux) belongs to this host."""
        return name.startswith(b"user.") or name == b"security.capability"

    def names(self, file: int) -> list[bytes]:
        """Return the names of an open file's attributes."""
        return [os.fsencode(name) for name in os.listxattr(file)]

    def get(self, file: int, name: bytes) -> bytes:
        """Return the value of an attribute."""
        return os.getxattr(file, name)

    def set(self, file: int, name: bytes, value: bytes) -> None:
        """Set an attribute."""
        os.setxattr(file, name, value)

    def remove(self, file: int, name: bytes) -> None:
        """Remove an attribute."""
        os.removexattr(file, name)

    def remove_acls(self, path: str) -> None:
        """Remove POSIX ACLs (acl(5))."""
        for name in os.listxattr(path):
            if name in ACLS:
                os.removexattr(path, name)

    def set_flags(self, directory: int, name: bytes | str, flags: int) -> None:
        """Do nothing."""

    def unlock(self, file: int) -> int:
        """Return 0: nothing was locked."""
        return 0


class FreeBsd:
    """extattr(2) and chflags(2), which Python offers by path at most. libc: as ctypes.CDLL; tests have their own."""

    PC_ACL_EXTENDED, PC_ACL_NFS4 = 59, 64  # sys/unistd.h
    ACL_ACCESS, ACL_NFS4 = 2, 4  # sys/acl.h
    NAMESPACES = {b"user": 1, b"system": 2}  # EXTATTR_NAMESPACE_*, sys/extattr.h
    AT_SYMLINK_NOFOLLOW = 0x200

    def __init__(self, libc: Any) -> None:
        import ctypes

        self._libc, self._ctypes = libc, ctypes
        for name in ("extattr_list_fd", "extattr_get_fd", "extattr_set_fd"):
            getattr(libc, name).restype = ctypes.c_ssize_t
        for name in ("acl_get_file", "acl_strip_np"):
            getattr(libc, name).restype = ctypes.c_void_p

    def carried(self, name: bytes) -> bool:
        """Whether layers carry an attribute: all that FreeBSD can have."""
        space, _, rest = name.partition(b".")
        return space in self.NAMESPACES and bool(rest)

    def names(self, file: int) -> list[bytes]:
        """Return the names of an open file's attributes."""
        found = []
        for space, number in self.NAMESPACES.items():
            try:
                listed = self._read(self._libc.extattr_list_fd, file, number)
            except PermissionError:  # system attributes are root's alone, and no jail's
                continue
            while listed:  # a length and that many bytes, each
                found.append(space + b"." + listed[1 : 1 + listed[0]])
                listed = listed[1 + listed[0] :]
        return found

    def get(self, file: int, name: bytes) -> bytes:
        """Return the value of an attribute."""
        return self._read(self._libc.extattr_get_fd, file, *self._split(name))

    def set(self, file: int, name: bytes, value: bytes) -> None:
        """Set an attribute. Raises OSError: EOPNOTSUPP for a namespace that FreeBSD does not have."""
        size = self._ctypes.c_size_t(len(value))
        if self._call(self._libc.extattr_set_fd, file, *self._split(name), value, size) < len(value):
            raise OSError(errno.EIO, "an extended attribute was cut short")

    def remove(self, file: int, name: bytes) -> None:
        """Remove an attribute."""
        self._call(self._libc.extattr_delete_fd, file, *self._split(name))

    def remove_acls(self, path: str) -> None:
        """Remove POSIX ACLs (UFS with `acls`), and make an NFSv4 one (ZFS) what the mode says: acl(3)."""
        if os.pathconf(path, self.PC_ACL_NFS4) > 0:
            self._strip(path, self.ACL_NFS4)
        if os.pathconf(path, self.PC_ACL_EXTENDED) > 0:
            self._call(self._libc.acl_delete_def_file, os.fsencode(path))
            self._strip(path, self.ACL_ACCESS)

    def _strip(self, path: str, kind: int) -> None:
        acl = self._pointer(self._libc.acl_get_file(os.fsencode(path), kind))
        try:
            left = self._pointer(self._libc.acl_strip_np(acl, 0))
            try:
                self._call(self._libc.acl_set_file, os.fsencode(path), kind, left)
            finally:
                self._libc.acl_free(left)
        finally:
            self._libc.acl_free(acl)

    def _pointer(self, address: int | None) -> Any:
        if not address:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return self._ctypes.c_void_p(address)

    def set_flags(self, directory: int, name: bytes | str, flags: int) -> None:
        """Set the flags of a directory's entry, never following a link."""
        bits = self._ctypes.c_ulong(flags)
        self._call(self._libc.chflagsat, directory, os.fsencode(name), bits, self.AT_SYMLINK_NOFOLLOW)

    def unlock(self, file: int) -> int:
        """Take away what keeps an open file from being changed. Returns the flags it had, 0 when nothing did."""
        flags: int = getattr(os.fstat(file), "st_flags", 0)
        if not flags & LOCKING:
            return 0
        self._call(self._libc.fchflags, file, self._ctypes.c_ulong(0))
        return flags

    def _split(self, name: bytes) -> tuple[int, bytes]:
        space, _, rest = name.partition(b".")
        if space not in self.NAMESPACES:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), os.fsdecode(name))
        return self.NAMESPACES[space], rest

    def _read(self, call: Any, *arguments: int | bytes) -> bytes:
        """Call twice: without a buffer the answer is the size."""
        size = self._call(call, *arguments, None, self._ctypes.c_size_t(0))
        buffer = self._ctypes.create_string_buffer(size)
        length = self._call(call, *arguments, buffer, self._ctypes.c_size_t(size)) if size else 0
        return buffer.raw[:length]

    def _call(self, call: Any, *arguments: Any) -> int:
        result: int = call(*arguments)
        if result < 0:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _choose() -> FreeBsd | Linux:
    if hasattr(os, "listxattr"):
        return Linux()
    import ctypes

    return FreeBsd(ctypes.CDLL(None, use_errno=True))


SYSTEM = _choose()
