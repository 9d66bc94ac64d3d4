"""Directories that a layer decides about: found, made, emptied, restored, by descriptors alone.

Every step opens one component below an open directory and follows no link. Links are read and walked here, inside the
root: absolute ones and `..` start again at the root, or stop at it. A *real* path is relative to the root and has no
links on it; b"" is the root. Nobody else changes the tree, so what was found stays true until we remove something.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from runjail import attributes
from runjail.errors import Corrupt
from runjail.rootfs import DIRECTORY, MAX_LINKS

MOST_OPEN = 128  # directories; far below any limit on descriptors
# What open(2) says about a link or a file that should be a directory: Linux, FreeBSD
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP, errno.EMLINK)
GONE = (*_NO_DIRECTORY, errno.ENOENT)


def join(directory: bytes, name: bytes) -> bytes:
    """Return the real path of an entry of a directory."""
    return directory + b"/" + name if directory else name


class Tree:
    """The directories below an open root, which the caller closes.

    made: told the real path of each directory that has to be made on the way to another.
    mtimes: what the modification time of each directory has to be in the end, in nanoseconds, by real path; changes in
    a directory that existed leave no trace there. flags: likewise the BSD file flags, of files too.
    """

    def __init__(self, root: int, depth: int, made: Callable[[bytes], None]) -> None:
        self._root, self._depth, self._made = root, depth, made
        self._open: dict[bytes, int] = {}  # by real path, oldest first
        self._aliases: dict[bytes, bytes] = {}  # paths with links on them: their real paths
        self.mtimes: dict[bytes, int] = {}
        self.flags: dict[bytes, int] = {}
        self._note(b"", root)

    def close(self) -> None:
        """Close all directories but the root. Descriptors and real paths got so far are void."""
        for directory in self._open.values():
            os.close(directory)
        self._open.clear()
        self._aliases.clear()

    def directory(self, real: bytes) -> int:
        """Return the descriptor of a directory by its real path. It is good until the next call of a method here."""
        if not real:
            return self._root
        found = self._open.get(real)
        if found is None:
            parent, _, name = real.rpartition(b"/")
            found = self._keep(real, os.open(name, DIRECTORY, dir_fd=self.directory(parent)))
        return found

    def _keep(self, real: bytes, directory: int) -> int:
        if len(self._open) >= MOST_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[real] = directory
        self._note(real, directory)
        return directory

    def _note(self, real: bytes, directory: int) -> None:
        """Remember what a directory was like before it is changed, and make it changeable."""
        if real not in self.mtimes:
            self.mtimes[real] = os.fstat(directory).st_mtime_ns
            if had := attributes.SYSTEM.unlock(directory):
                self.flags[real] = had

    def resolve(self, path: bytes, *, making: bool) -> bytes | None:
        """Return the real path of the directory at a path, following links inside the root.

        making: a missing one is made, owner 0, mode 0755, with its parents; otherwise it is None. Raises Corrupt when
        something on the way is no directory, links form a circle, or the path is too deep.
        """
        if not path or path in self._open:
            return path
        found = self._aliases.get(path)
        if found is None:
            try:
                found = self._walk(path, making)
            except FileNotFoundError:
                return None
            if found != path:
                self._aliases[path] = found
        return found

    def _walk(self, path: bytes, making: bool) -> bytes:
        real, links = b"", 0
        pending = path.split(b"/")[::-1]
        while pending:
            name = pending.pop()
            if name == b"..":
                real = real.rpartition(b"/")[0]
            elif name not in (b"", b"."):
                target = self._enter(real, name, making)
                if target is None:
                    real = join(real, name)
                    continue
                links += 1
                if links > MAX_LINKS:
                    raise Corrupt("too many symbolic links on the way")
                if target.startswith(b"/"):
                    real = b""
                pending += target.split(b"/")[::-1]
        return real

    def _enter(self, real: bytes, name: bytes, making: bool) -> bytes | None:
        """Open an entry of a directory. Returns None, or the target when the entry is a link."""
        below = join(real, name)
        if below in self._open:
            return None
        if below.count(b"/") >= self._depth:
            raise Corrupt(f"more than {self._depth} directories deep")
        directory = self.directory(real)
        try:
            inner = os.open(name, DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            if not making:
                raise
            inner = self._make(name, directory, below)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                raise
            return _target(name, directory)
        self._keep(below, inner)
        return None

    def _make(self, name: bytes, directory: int, below: bytes) -> int:
        self._made(below)
        os.mkdir(name, 0o755, dir_fd=directory)
        inner = os.open(name, DIRECTORY, dir_fd=directory)
        os.fchown(inner, 0, 0)  # BSD's directories hand their group down
        os.fchmod(inner, 0o755)  # whatever umask our caller has
        return inner

    def remove(self, real: bytes, name: bytes) -> None:
        """Remove an entry of a directory with all that it contains. Raises FileNotFoundError."""
        directory = self.directory(real)
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        self._remove(directory, name, mode)
        self.flags.pop(join(real, name), None)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):  # paths may lead elsewhere now
            self.close()

    def _remove(self, directory: int, name: bytes, mode: int) -> None:
        if stat.S_ISDIR(mode):
            self._empty(directory, name)
        discard = os.rmdir if stat.S_ISDIR(mode) else os.unlink
        try:
            discard(name, dir_fd=directory)
        except PermissionError:
            attributes.SYSTEM.set_flags(directory, name, 0)
            discard(name, dir_fd=directory)

    def _empty(self, directory: int, name: bytes) -> None:
        inner = os.open(name, DIRECTORY, dir_fd=directory)
        try:
            attributes.SYSTEM.unlock(inner)
            for entry in map(os.fsencode, os.listdir(inner)):
                self._remove(inner, entry, os.stat(entry, dir_fd=inner, follow_symlinks=False).st_mode)
        finally:
            os.close(inner)

    def restore(self) -> None:
        """Set the times of directories and then the flags; what is gone, or something else by now, is passed over."""
        for real in sorted(self.mtimes, reverse=True):
            mtime = self.mtimes[real]
            try:
                os.utime(self.directory(real), ns=(mtime, mtime))
            except OSError as error:
                if error.errno not in GONE:
                    raise
        for path, flags in self.flags.items():
            parent, _, name = path.rpartition(b"/")
            try:
                attributes.SYSTEM.set_flags(self.directory(parent), name or b".", flags)
            except OSError as error:
                if error.errno not in GONE:
                    raise


def _target(name: bytes, directory: int) -> bytes:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Corrupt("something on the way is no directory") from None
