"""A copy of a program in memory that nobody can write to: memfd_create(2), and fcntl(2) about seals.

The host's Python is executed from one where it cannot be mounted read-only. It costs its size, 7 MB, and 15 ms with the
second start.
"""

from __future__ import annotations

import errno
import os
from fcntl import F_ADD_SEALS, F_GET_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl

SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
MFD_EXEC = 0x10  # Linux 6.3: may be executed, whatever vm.memfd_noexec has as default


def copy_of(path: str) -> int:
    """Return the descriptor of a sealed copy. Raises OSError: no memory, or vm.memfd_noexec is 2."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        copy = os.memfd_create("python", flags | MFD_EXEC)
    except OSError:  # EINVAL of an older kernel
        copy = os.memfd_create("python", flags)
    try:
        _fill(copy, path)
        fcntl(copy, F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(copy)
        raise
    return copy


def _fill(copy: int, path: str) -> None:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(copy, 0o555)
        offset, size = 0, os.fstat(source).st_size
        while offset < size:
            count = os.sendfile(copy, source, offset, size - offset)
            if not count:
                raise OSError(errno.EIO, "it became shorter")
            offset += count
    finally:
        os.close(source)


def is_sealed(path: str) -> bool:
    """Whether a path leads to such a copy."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl(descriptor, F_GET_SEALS) & SEALS == SEALS
    except OSError:  # EINVAL: it is an ordinary file
        return False
    finally:
        os.close(descriptor)
