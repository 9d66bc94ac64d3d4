"""Copy, link and measure whole directory trees of the store.

Trees come out of images and containers, so every step is below a directory descriptor and follows no link. None of it
is recursive: neither Python's stack nor the number of open files limits how deep a tree may be.
"""

from __future__ import annotations

import errno
import os
import stat

from runjail import attributes
from runjail.rootfs import DIRECTORY, first_mode
from runjail.storage.spread import spread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Takes name, directory, its counterpart, what the entry is and the path of the directory; returns bytes copied
    Leaf = Callable[[str, int, int, os.stat_result, str], int]
    Part = tuple[str, list[str], bool]  # a directory, some names in it, and whether they are directories to copy

BLOCK = 1 << 20
TOGETHER, DIRECTORIES = 200, 16  # entries of a directory, and directories in one, that are one thread's
CANNOT_LINK = (errno.EPERM, errno.EMLINK, errno.EXDEV)  # file flags, too many links, another file system
CANNOT_CLONE = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


def open_below(root: int, path: str) -> int:
    """Open a directory below another, component by component; "" is the directory itself. Raises OSError."""
    found = os.dup(root)
    for name in path.split("/"):
        if name:
            above = found
            try:
                found = os.open(name, DIRECTORY, dir_fd=above)
            finally:
                os.close(above)
    return found


def directories(root: int) -> Iterator[tuple[str, int, list[tuple[str, os.stat_result]]]]:
    """Yield each directory of a tree: its path below `root`, itself open until the next one, and its entries.

    What an entry is, is of the entry itself: no link is followed. Raises OSError.
    """
    pending = [""]
    while pending:
        at = pending.pop()
        directory = open_below(root, at)
        try:
            entries = [(name, os.stat(name, dir_fd=directory, follow_symlinks=False)) for name in os.listdir(directory)]
            pending += [f"{at}/{name}" for name, found in entries if stat.S_ISDIR(found.st_mode)]
            yield at, directory, entries
        finally:
            os.close(directory)


class _Ends:
    """A directory and its counterpart, open until `close`. path: where they are below source and target."""

    def __init__(self, inner: int, outer: int, path: str) -> None:
        self.inner, self.outer, self.path = inner, outer, path

    def below(self, name: str) -> _Ends:
        """Open a directory in this one and its counterpart. Raises OSError."""
        inner = os.open(name, DIRECTORY, dir_fd=self.inner)
        try:
            return _Ends(inner, os.open(name, DIRECTORY, dir_fd=self.outer), f"{self.path}/{name}")
        except BaseException:
            os.close(inner)
            raise

    def close(self) -> None:
        """Close both."""
        os.close(self.inner)
        os.close(self.outer)


class Copier:
    """Copies one tree; entries that were one file are one file again. source, target: open directories.

    report: told how many bytes more are copied, from any thread.
    Several threads do it. threads: how many at most, 0 for what suits the machine. Opening a directory takes two calls
    for each component of its path, so directories in one are copied together, and each is finished while it is open.
    """

    def __init__(self, source: int, target: int, threads: int = 0, report: Callable[[int], None] | None = None) -> None:
        self._source, self._target, self._threads, self._report = source, target, threads, report
        self._ours = os.geteuid(), os.getegid()
        self._seen: dict[tuple[int, int], str] = {}  # files with more than one name, by device and inode
        self._further: list[tuple[str, str, str]] = []  # their other names: the first one's path, directory and name
        self._unfinished: set[str] = set()  # directories to which something is added later: that changes their times
        self._locked: list[tuple[str, str, int]] = []  # flags of files with more names: a locked one gets no further
        self.linked: set[int] = set()  # inodes that source and target share
        self.total = 0  # bytes of what was copied, each file once

    def copy(self) -> None:
        """Copy everything. Raises OSError."""
        self._each(self._copy_entry)

    def link(self) -> None:
        """Make the same tree with the same files: directories are new, the rest are links, or copies at need."""
        self._each(self._link_entry)

    def _each(self, leaf: Leaf) -> None:
        sizes: list[int] = []
        top = _Ends(self._source, self._target, "")
        spread(self._directory(top, leaf, sizes), lambda part: self._part(part, leaf, sizes), self._threads)
        self.total = sum(sizes)
        for first, at, name in self._further:
            self._link_to(first, at, name)
        for at, name, flags in self._locked:
            self._lock(at, name, flags)
        for path in self._unfinished:
            ends = self._open(path)
            try:
                self._finish(ends)
            finally:
                ends.close()

    def _open(self, path: str) -> _Ends:
        inner = open_below(self._source, path)
        try:
            return _Ends(inner, open_below(self._target, path), path)
        except BaseException:
            os.close(inner)
            raise

    def _part(self, part: Part, leaf: Leaf, sizes: list[int]) -> list[Part]:
        """Copy some entries of a directory, or directories in it. Returns what is to be copied then."""
        at, names, whole = part
        ends = self._open(at)
        try:
            if not whole:
                return self._entries(ends, names, leaf, sizes)
            further: list[Part] = []
            for name in names:
                below = ends.below(name)
                try:
                    further += self._directory(below, leaf, sizes)
                finally:
                    below.close()
            return further
        finally:
            ends.close()

    def _directory(self, ends: _Ends, leaf: Leaf, sizes: list[int]) -> list[Part]:
        """Copy a directory, as far as that is one thread's. Returns what is to be copied then."""
        names = os.listdir(ends.inner)
        rest: list[Part] = [
            (ends.path, names[start : start + TOGETHER], False) for start in range(TOGETHER, len(names), TOGETHER)
        ]
        if rest:
            self._unfinished.add(ends.path)
        further = self._entries(ends, names[:TOGETHER], leaf, sizes)
        if ends.path not in self._unfinished:
            self._finish(ends)
        return rest + further

    def _entries(self, ends: _Ends, names: list[str], leaf: Leaf, sizes: list[int]) -> list[Part]:
        """Copy entries; directories are made. Returns those, which are to be copied then."""
        made, size = [], 0
        for name in names:
            found = os.stat(name, dir_fd=ends.inner, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.mkdir(name, self._first_mode(found, 0o700), dir_fd=ends.outer)
                made.append(name)
            else:
                size += leaf(name, ends.inner, ends.outer, found, ends.path)
        sizes.append(size)
        if self._report and size:
            self._report(size)
        return [(ends.path, made[start : start + DIRECTORIES], True) for start in range(0, len(made), DIRECTORIES)]

    def _finish(self, ends: _Ends) -> None:
        """Give a directory what it has but entries."""
        found = os.fstat(ends.inner)
        _copy_metadata(ends.inner, ends.outer, found)
        if ends.path and _flags(found):
            attributes.SYSTEM.set_flags(ends.outer, ".", _flags(found))

    def _first_mode(self, found: os.stat_result, closed: int) -> int:
        ours = (found.st_uid, found.st_gid) == self._ours
        return first_mode(stat.S_IMODE(found.st_mode), closed, ours=ours)

    def _link_entry(self, name: str, inner: int, outer: int, found: os.stat_result, at: str) -> int:
        try:
            os.link(name, name, src_dir_fd=inner, dst_dir_fd=outer, follow_symlinks=False)
            self.linked.add(found.st_ino)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            return self._copy_entry(name, inner, outer, found, at)
        return 0

    def _copy_entry(self, name: str, inner: int, outer: int, found: os.stat_result, at: str) -> int:
        if stat.S_ISSOCK(found.st_mode):  # its server is gone, so a copy could never be connected to
            return 0
        if found.st_nlink > 1:
            first = self._seen.setdefault((found.st_dev, found.st_ino), f"{at}/{name}")
            if first != f"{at}/{name}":
                self._further.append((first, at, name))  # another thread may not be done with the first
                self._unfinished.add(at)
                return 0
        if stat.S_ISREG(found.st_mode):
            _copy_file(name, inner, outer, found, self._first_mode(found, 0o600))
        else:
            _copy_node(name, inner, outer, found)
        if _flags(found):
            self._copy_flags(name, outer, found, at)
        return found.st_size

    def _copy_flags(self, name: str, outer: int, found: os.stat_result, at: str) -> None:
        if found.st_nlink > 1:
            self._locked.append((at, name, _flags(found)))
        else:
            attributes.SYSTEM.set_flags(outer, name, _flags(found))

    def _link_to(self, first: str, at: str, name: str) -> None:
        above, _, old = first.rpartition("/")
        directory, outer = open_below(self._target, above), open_below(self._target, at)
        try:
            os.link(old, name, src_dir_fd=directory, dst_dir_fd=outer, follow_symlinks=False)
        finally:
            os.close(directory)
            os.close(outer)

    def _lock(self, at: str, name: str, flags: int) -> None:
        directory = open_below(self._target, at)
        try:
            attributes.SYSTEM.set_flags(directory, name, flags)
        finally:
            os.close(directory)


def _flags(found: os.stat_result) -> int:
    return getattr(found, "st_flags", 0)  # FreeBSD only


def _copy_node(name: str, inner: int, outer: int, found: os.stat_result) -> None:
    """Copy what has no content: a symbolic link, FIFO or device."""
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=inner), name, dir_fd=outer)
    elif stat.S_ISFIFO(mode):
        os.mkfifo(name, 0o600, dir_fd=outer)
    else:
        os.mknod(name, mode, found.st_rdev, dir_fd=outer)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=outer, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=outer)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=outer, follow_symlinks=False)


def _copy_file(name: str, inner: int, outer: int, found: os.stat_result, mode: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inner)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(name, flags, mode, dir_fd=outer)
        try:
            end = 0
            for start, length in _extents(reading, found):
                _copy_bytes(reading, writing, start, length)
                end = start + length
            if end != found.st_size:  # a hole at the end, or somebody made the file longer
                os.ftruncate(writing, found.st_size)
            _copy_metadata(reading, writing, found)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(source: int, target: int, found: os.stat_result) -> None:
    """Copy owner, attributes, mode and times, in this order: a change of owner clears mode bits, each changes times.

    Most files have the right owner and mode already: one look takes less than two changes.
    """
    has = os.fstat(target)
    moved = (has.st_uid, has.st_gid) != (found.st_uid, found.st_gid)
    if moved:
        os.fchown(target, found.st_uid, found.st_gid)
    if attributes.copy(source, target) or moved or stat.S_IMODE(has.st_mode) != stat.S_IMODE(found.st_mode):
        os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _extents(descriptor: int, found: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield start and length of what is not a hole."""
    start = 0
    if found.st_blocks * 512 >= found.st_size:
        yield 0, found.st_size
        return
    while start < found.st_size:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only holes from here on
                return
            yield start, found.st_size - start
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end - start
        start = end


def _copy_bytes(reading: int, writing: int, start: int, length: int) -> None:
    """Copy a range to the same place in another file, sharing its blocks where the file system can."""
    end = start + length
    clone: Callable[..., int] | None = getattr(os, "copy_file_range", None)
    while clone and start < end:
        try:
            done = clone(reading, writing, end - start, start, start)
        except OSError as error:
            if error.errno not in CANNOT_CLONE:
                raise
            break
        if not done:
            return
        start += done
    while start < end:
        block = os.pread(reading, min(BLOCK, end - start), start)
        if not block:
            return
        start += os.pwrite(writing, block, start)


def measure(root: int, shared: set[int]) -> tuple[int, int]:
    """Return the bytes in files of a tree that are not in `shared` (inodes), and of all files; each file once."""
    own = total = 0
    seen: set[int] = set()
    for _at, _directory, entries in directories(root):
        for _name, found in entries:
            if not stat.S_ISDIR(found.st_mode) and found.st_ino not in seen:
                if found.st_nlink > 1:  # or a million files would be a set of 80 MB
                    seen.add(found.st_ino)
                total += found.st_size
                own += found.st_size if found.st_ino not in shared else 0
    return own, total
