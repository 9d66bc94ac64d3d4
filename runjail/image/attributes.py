"""Extended attributes and file flags of whichever system has them, below file descriptors.

Linux: `user.*` and security.capability. FreeBSD: `user.*` and `system.*`. The rest belongs to the system that wrote the
layer (trusted.*, security.selinux ...) and is passed over, as other runtimes do.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from runjail.image.freebsd_files import FileFlags

    class Xattrs(Protocol):
        """Extended attributes of open files and directories. Methods raise OSError."""

        def known(self, name: bytes) -> bool:
            """Whether the system has a place for an attribute."""

        def set(self, file: int, name: bytes, value: bytes) -> None:
            """Set an attribute."""

        def clear(self, file: int) -> None:
            """Remove all attributes that `set` could have set."""


class LinuxXattrs:
    """xattr(7)."""

    def known(self, name: bytes) -> bool:
        """Whether the system has a place for an attribute."""
        return name.startswith(b"user.") or name == b"security.capability"

    def set(self, file: int, name: bytes, value: bytes) -> None:
        """Set an attribute."""
        os.setxattr(file, name, value)

    def clear(self, file: int) -> None:
        """Remove all attributes that `set` could have set."""
        for name in map(os.fsencode, os.listxattr(file)):
            if self.known(name):
                os.removexattr(file, name)


def xattrs() -> "Xattrs":
    """Return this system's extended attributes."""
    if hasattr(os, "setxattr"):
        return LinuxXattrs()
    from runjail.image import freebsd_files

    return freebsd_files.Xattrs(freebsd_files.load())


def file_flags() -> "FileFlags | None":
    """Return this system's file flags, None where there are none."""
    if not hasattr(os, "chflags"):
        return None
    from runjail.image import freebsd_files

    return freebsd_files.FileFlags(freebsd_files.load())
