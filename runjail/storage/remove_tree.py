"""Remove whole directory trees of the store, whatever modes, flags and names are in them.

Images and containers leave all kinds. Nothing is followed and nothing is recursive: directories move up into `trash`
one by one, so neither Python's stack nor the length of a path limits how deep a tree may be.
"""

from __future__ import annotations

import errno
import os

from runjail import attributes
from runjail.errors import InUse
from runjail.rootfs import DIRECTORY
from runjail.storage.copy_tree import directories
from runjail.storage.spread import spread


def refuse_mounts(path: str, table: str = "/proc/self/mountinfo") -> None:
    """Raise InUse when something is mounted below a directory. table: where the system has a file of its mounts."""
    try:
        with open(table, "rb") as file:
            places = [_unescaped(line.split(b" ")[4]) for line in file]
        inside = os.fsencode(os.path.realpath(path)) + b"/"
        mounted = [os.fsdecode(place) for place in places if (place + b"/").startswith(inside)]
    except FileNotFoundError:
        mounted = _other_devices(path)
    if mounted:
        raise InUse(f"{path} is in use: something is mounted at {mounted[0]}")


def _unescaped(text: bytes) -> bytes:
    """Return a mount point as it is; the table writes blanks and backslashes in octal."""
    first, *rest = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _other_devices(path: str) -> list[str]:
    """Return the first entry below a directory that is on another file system."""
    root = os.open(path, DIRECTORY)
    try:
        device = os.fstat(root).st_dev
        for at, _directory, entries in directories(root):
            for name, found in entries:
                if found.st_dev != device:
                    return [f"{path}{at}/{name}"]
    finally:
        os.close(root)
    return []


def remove(trash: str, item: str, threads: int = 0) -> None:
    """Remove a directory in `trash`. threads: see `spread`. Raises OSError, EBUSY at a mount point.

    Somebody may remove the same at the same time, and dying on the way leaves nothing but more directories in `trash`.
    """
    top = os.open(trash, DIRECTORY)
    try:
        spread([item], lambda name: _remove(name, top), threads)
    finally:
        os.close(top)


def _remove(name: str, top: int) -> list[str]:
    """Remove a directory in `trash`. Returns the new names of those that were in it."""
    try:
        moved = _empty(name, top)
        os.rmdir(name, dir_fd=top)
    except FileNotFoundError:
        return []
    return moved


def _empty(name: str, top: int) -> list[str]:
    """Unlink what is in a directory in `trash`, and move its directories up. Returns their new names."""
    moved: list[str] = []
    _permit(name, top)
    directory = os.open(name, DIRECTORY, dir_fd=top)
    try:
        with os.scandir(directory) as found:
            entries = list(found)  # whole, before it changes
        for entry in entries:
            _insist(entry, directory, top, moved)
    finally:
        os.close(directory)
    return moved


def _insist(entry: os.DirEntry[str], directory: int, top: int, moved: list[str]) -> None:
    try:
        _take(entry, directory, top, moved)
    except PermissionError as error:
        if error.errno == errno.EPERM:
            attributes.SYSTEM.set_flags(directory, entry.name, 0)
        elif entry.is_dir(follow_symlinks=False):  # we are not root: what may not be written may not be moved
            os.chmod(entry.name, 0o700, dir_fd=directory)
        else:  # nothing of a file keeps it, and chmod(2) would follow a link
            raise
        _take(entry, directory, top, moved)


def _take(entry: os.DirEntry[str], directory: int, top: int, moved: list[str]) -> None:
    try:
        if entry.is_dir(follow_symlinks=False):  # most file systems say so in the directory
            name = f"{os.getpid()}-{os.urandom(8).hex()}"
            os.rename(entry.name, name, src_dir_fd=directory, dst_dir_fd=top)
            moved.append(name)
        else:
            os.unlink(entry.name, dir_fd=directory)
    except FileNotFoundError:
        pass


def _permit(name: str, top: int) -> None:
    """Make a directory in `trash`, where it is no link, writable for us."""
    attributes.SYSTEM.set_flags(top, name, 0)
    os.chmod(name, 0o700, dir_fd=top)
