"""Copying between a tree that a container may change meanwhile and another one, as a tar stream.

Nothing here trusts what was seen a moment ago: every directory is opened below the one above it without following a
link, files are looked at once they are open, and what is written is made under a name of its own and then renamed. So
whoever swaps entries meanwhile gets a mixture of its own files, and never a way out of its tree (CVE-2018-15664).
Where things go is docker's and podman's (their manual pages of cp).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runjail import rootfs
from runjail.errors import Corrupt, ImageError, reason
from runjail.image.layers import tar, tar_directory
from runjail.image.layers.apply import cleaned, shown
from runjail.image.layers.tar import Entry, Reader
from runjail.rootfs import DIRECTORY

HERE = "."
BESIDE = b".runjail-cp."  # what is written is called so until it is whole
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 255
KERNELS = (b"dev", b"proc", b"sys")  # what of a whole root is none of its files


@dataclass(frozen=True)
class Place:
    """A path in a tree. root: open directory; path: as it was typed; shown: for people, with the container's id.

    modes: bits of modes that files may have there: a program that runs as somebody else is not for the host.
    """

    root: int
    path: str
    shown: str
    modes: int = 0o7777


class Stream:
    """What is copied, as an archive. is_directory: of the source; contents: what is in it, not the directory itself.

    The caller closes it.
    """

    def __init__(self, source: Place) -> None:
        """Find what is copied, at the end of a link too. Raises ImageError when there is none."""
        self._source, self._found = source, _resolved(source)
        mode = self._found.mode()
        self.is_directory = stat.S_ISDIR(mode)
        self.contents = self._found.name == HERE or source.path.endswith(("/.", "/./"))
        self.name = os.fsencode(self._found.name)
        if not mode:
            self.close()
            raise ImageError(f"{source.shown}: does not exist")

    def close(self) -> None:
        """Close what is open."""
        self._found.close()

    def archive(self, name: bytes) -> Iterator[bytes]:
        """Yield the archive. name: what the source is called in it; b"" for what a directory contains."""
        try:
            skip = KERNELS if self._found.name == HERE and not self._found.path else ()
            yield from tar_directory.part(self._found.parent, self.name, name, self._source.shown, skip)
        except OSError as error:
            raise ImageError(f"cannot read {self._source.shown}: {reason(error)}") from error


def copy(source: Place, target: Place, owner: tuple[int, int] | None) -> list[str]:
    """Copy a file or a directory. owner: of all that is made, None for the source's. Returns warnings.

    Raises ImageError when there is no source, or the target is no place for it.
    """
    stream = Stream(source)
    try:
        directory, name = _target(target, stream)
        try:
            return paste(directory, stream.archive(name), owner, target)
        finally:
            os.close(directory)
    finally:
        stream.close()


def _resolved(place: Place) -> rootfs.ResolvedPath:
    try:
        return rootfs.resolve(place.root, place.path)
    except OSError as error:
        raise ImageError(f"{place.shown}: {reason(error)}") from error


def _target(target: Place, stream: Stream) -> tuple[int, bytes]:
    """Return the open directory that is copied into, and the name that the source gets there: b"" for its contents."""
    found = _resolved(target)
    try:
        mode = found.mode()
        if stat.S_ISDIR(mode):
            return found.open_directory(), b"" if stream.is_directory and stream.contents else stream.name
        if mode and (stream.is_directory or target.path.endswith("/")):
            raise ImageError(f"{target.shown}: not a directory")
        if not mode and target.path.endswith("/") and not stream.is_directory:
            raise ImageError(f"{target.shown}: does not exist")
        return os.dup(found.parent), os.fsencode(found.name)
    except OSError as error:
        raise ImageError(f"{target.shown}: {reason(error)}") from error
    finally:
        found.close()


def extract(chunks: Iterable[bytes], target: Place, owner: tuple[int, int] | None) -> list[str]:
    """Copy the members of an archive into a directory that exists. Returns warnings. Raises ImageError, Corrupt."""
    found = _resolved(target)
    try:
        directory = found.open_directory()
    except OSError as error:
        raise ImageError(f"{target.shown}: {reason(error)}", "an archive goes into a directory") from error
    finally:
        found.close()
    try:
        return paste(directory, chunks, owner, target)
    finally:
        os.close(directory)


def paste(directory: int, chunks: Iterable[bytes], owner: tuple[int, int] | None, target: Place) -> list[str]:
    """Make the members of an archive below an open directory. Returns warnings. Raises ImageError, Corrupt."""
    paster, name, where = _Paster(directory, Reader(chunks), owner, target.modes), b"", target.shown
    try:
        for entry in paster.reader:
            name = entry.name
            paster.take(entry)
        paster.finish()
    except OSError as error:
        raise ImageError(f"cannot write {where}: {shown(name)}: {reason(error)}") from error
    finally:
        paster.close()
    count = paster.left_out
    return [f"{where}: {count} device files were left out"] if count else []


class _Paster:
    def __init__(self, top: int, reader: Reader, owner: tuple[int, int] | None, modes: int) -> None:
        self.reader, self.left_out, self._modes = reader, 0, modes
        self._top, self._owner = top, owner
        self._last: tuple[bytes, int] = (b"", os.dup(top))  # the directory that was written to last
        self._times: list[tuple[bytes, int]] = []  # of directories, which change while they are filled
        self._beside = BESIDE + os.urandom(8).hex().encode()

    def close(self) -> None:
        """Close what is open."""
        os.close(self._last[1])

    def finish(self) -> None:
        """Give directories the times that they are to have."""
        for path, mtime in reversed(self._times):
            os.utime(self._directory(path), ns=(mtime, mtime))

    def take(self, entry: Entry) -> None:
        """Make one member."""
        path = cleaned(entry.name)
        if path.count(b"/") > DEEPEST:
            raise Corrupt(f"more than {DEEPEST} directories deep")
        parent, _, name = path.rpartition(b"/")
        if entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE):
            self.left_out += 1
        elif entry.kind == tar.DIRECTORY:
            if path:
                self._set_owner_and_mode(self._directory(path), entry)
                self._times.append((path, entry.mtime))
        elif name:
            self._node(self._directory(parent), name, entry)

    def _directory(self, path: bytes) -> int:
        """Return a directory below the top, which is made where it is missing. It is good until the next call."""
        if path == self._last[0]:
            return self._last[1]
        directory = os.dup(self._top)
        for name in path.split(b"/") if path else ():
            try:
                inner = _enter(directory, name)
            finally:
                os.close(directory)
            directory = inner
        os.close(self._last[1])
        self._last = path, directory
        return directory

    def _node(self, directory: int, name: bytes, entry: Entry) -> None:
        """Make a file, link or FIFO aside and rename it, so that nobody sees half of it and no link is followed."""
        beside = self._beside
        try:
            if entry.kind == tar.REGULAR:
                self._file(directory, beside, entry)
            elif entry.kind == tar.SYMLINK:
                os.symlink(entry.link, beside, dir_fd=directory)
                self._own_link(directory, beside, entry)
            elif entry.kind == tar.LINK:
                self._link(directory, beside, entry)
                directory = self._directory(cleaned(entry.name).rpartition(b"/")[0])
            else:
                self._fifo(directory, beside, entry)
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            _unlink(beside, directory)
            raise
        _unlink(beside, directory)  # rename(2) does nothing when both are links to one file

    def _file(self, directory: int, name: bytes, entry: Entry) -> None:
        file = os.open(name, NEW, 0o600, dir_fd=directory)
        try:
            for offset, piece in self.reader.body():
                at, left = offset, piece
                while left:
                    count = os.pwrite(file, left, at)
                    at, left = at + count, left[count:]
            if entry.sparse is not None:
                os.ftruncate(file, entry.size)
            self._set_owner_and_mode(file, entry)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)

    def _fifo(self, directory: int, name: bytes, entry: Entry) -> None:
        os.mkfifo(name, 0o600, dir_fd=directory)
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if stat.S_ISFIFO(os.fstat(file).st_mode):
                self._set_owner_and_mode(file, entry)
        finally:
            os.close(file)

    def _link(self, directory: int, beside: bytes, entry: Entry) -> None:
        into = os.dup(directory)
        try:
            above, _, last = cleaned(entry.link, "hard link").rpartition(b"/")
            source = self._directory(above)
            os.link(last, beside, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
        finally:
            os.close(into)

    def _set_owner_and_mode(self, file: int, entry: Entry) -> None:
        """Give an open file its owner and mode: in this order, as the first takes set-id bits away."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        os.fchown(file, uid, gid)
        os.fchmod(file, entry.mode & self._modes)

    def _own_link(self, directory: int, name: bytes, entry: Entry) -> None:
        uid, gid = self._owner or (entry.uid, entry.gid)
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)


def _enter(directory: int, name: bytes) -> int:
    """Open a directory, which is made where it is missing, in the place of a link or file too."""
    try:
        return os.open(name, DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        os.unlink(name, dir_fd=directory)
    except OSError:  # a link: ELOOP, or EMLINK on FreeBSD
        if not stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise
        os.unlink(name, dir_fd=directory)
    os.mkdir(name, 0o755, dir_fd=directory)
    return os.open(name, DIRECTORY, dir_fd=directory)


def _unlink(name: bytes, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
