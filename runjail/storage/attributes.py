"""What Python does not offer on FreeBSD: extended attributes and file flags, as one small interface on both systems.

Attribute names are Linux's: `user.NAME`, `system.NAME` and so on; FreeBSD's two namespaces are the first two of them
(extattr(9)). Attributes are those of open files and directories.
"""

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = {"user": 1, "system": 2}  # EXTATTR_NAMESPACE_*, sys/extattr.h
AT_SYMLINK_NOFOLLOW = 0x200  # FreeBSD's
UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class FreeBsd:
    """extattr_get_fd(2) and chflagsat(2). libc: as ctypes.CDLL; tests have their own."""

    def __init__(self, libc: "Any") -> None:
        import ctypes

        self._libc, self._ctypes = libc, ctypes
        for name in ("extattr_list_fd", "extattr_get_fd", "extattr_set_fd"):
            getattr(libc, name).restype = ctypes.c_ssize_t

    def list(self, descriptor: int) -> list[str]:
        """Return the names of a file's attributes."""
        found = []
        for space, number in NAMESPACES.items():
            try:
                data = self._read(self._libc.extattr_list_fd, descriptor, number)
            except PermissionError:  # system attributes are root's alone
                continue
            while data:  # each name after one byte with its length
                found.append(f"{space}.{os.fsdecode(data[1 : 1 + data[0]])}")
                data = data[1 + data[0] :]
        return found

    def get(self, descriptor: int, name: str) -> bytes:
        """Return the value of an attribute."""
        number, bare = self._split(name)
        return self._read(self._libc.extattr_get_fd, descriptor, number, bare)

    def set(self, descriptor: int, name: str, value: bytes) -> None:
        """Set an attribute. Raises OSError: EOPNOTSUPP for a namespace that FreeBSD does not have."""
        number, bare = self._split(name)
        self._call(self._libc.extattr_set_fd, descriptor, number, bare, value, self._ctypes.c_size_t(len(value)))

    def set_flags(self, name: str, directory: int, flags: int) -> None:
        """Set the file flags of an entry of an open directory, following nothing."""
        path = os.fsencode(name)
        self._call(self._libc.chflagsat, directory, path, self._ctypes.c_ulong(flags), AT_SYMLINK_NOFOLLOW)

    def _split(self, name: str) -> tuple[int, bytes]:
        space, _, bare = name.partition(".")
        if space not in NAMESPACES:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), name)
        return NAMESPACES[space], os.fsencode(bare)

    def _read(self, call: "Any", *arguments: "int | bytes") -> bytes:
        size = self._call(call, *arguments, None, self._ctypes.c_size_t(0))
        buffer = self._ctypes.create_string_buffer(size)
        length = self._call(call, *arguments, buffer, self._ctypes.c_size_t(size)) if size else 0
        return buffer.raw[:length]

    def _call(self, call: "Any", *arguments: "Any") -> int:
        result: int = call(*arguments)
        if result < 0:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


class Linux:
    """The same through os; Linux has no file flags of this kind."""

    def list(self, descriptor: int) -> list[str]:
        """Return the names of a file's attributes."""
        return os.listxattr(descriptor)

    def get(self, descriptor: int, name: str) -> bytes:
        """Return the value of an attribute."""
        return os.getxattr(descriptor, name)

    def set(self, descriptor: int, name: str, value: bytes) -> None:
        """Set an attribute. Raises OSError."""
        os.setxattr(descriptor, name, value)

    def set_flags(self, name: str, directory: int, flags: int) -> None:
        """Do nothing: stat(2) shows no flags here."""


def _choose() -> "FreeBsd | Linux":
    if hasattr(os, "listxattr"):
        return Linux()
    import ctypes

    return FreeBsd(ctypes.CDLL(None, use_errno=True))


SYSTEM = _choose()


def copy(source: int, target: int) -> None:
    """Copy the extended attributes of one open file to another, as far as its file system can have them."""
    try:
        names = SYSTEM.list(source)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return
        raise
    for name in names:
        try:
            SYSTEM.set(target, name, SYSTEM.get(source, name))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
