"""What is on the disk for good: files of whole trees, names in directories.

A rename can reach the disk before the bytes of the files behind it: after a power cut there is then a layer whose files
are empty. So a tree is synced before the rename that makes it count, and the directory above it afterwards.
"""

from __future__ import annotations

import os
import stat

from runjail.rootfs import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def sync_tree(path: str, libc: Any = None) -> None:
    """Have all files below a directory on the disk, and the directories. Raises OSError.

    libc: as ctypes.CDLL, for tests. Linux has one call for a whole file system, which costs as much as what was written
    since. Elsewhere everything is started by sync(2), which need not wait for its end; fsync(2) of each file then does,
    at little cost where there is nothing left to do.
    """
    import ctypes

    libc = libc or c_library()
    top = os.open(path, DIRECTORY)
    try:
        if hasattr(libc, "syncfs"):
            if libc.syncfs(top):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        else:
            os.sync()
            _sync_each(top)
    finally:
        os.close(top)


def c_library(kept: list[Any] = []) -> Any:  # noqa: B006 - opened once: each is a circle of types that stays
    """Return the C library."""
    import ctypes

    if not kept:
        kept.append(ctypes.CDLL(None, use_errno=True))
    return kept[0]


def _sync_each(top: int) -> None:
    from runjail.storage.copy_tree import directories

    for _at, directory, entries in directories(top):
        for name, found in entries:
            if stat.S_ISREG(found.st_mode):
                _sync_file(name, directory)
        os.fsync(directory)


def _sync_file(name: str, directory: int) -> None:
    file = os.open(name, FILE, dir_fd=directory)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_directory(path: str) -> None:
    """Make names in a directory last. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
