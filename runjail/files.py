"""Files that a caller names: read whole, bounded in size and time; and files replaced whole.

What is at the path does not matter to the caller. A regular file is read as it is, and /dev/null is an empty one. A
pipe or socket is read to its end when it is a descriptor of ours, as shells write `<(command)`: /dev/fd/N,
/proc/self/fd/N, /dev/stdin. Anything else, FIFOs and devices by name too, is refused without being opened: a FIFO would
keep us waiting, and opening some devices does something.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import UnreadableFile, reason

PATIENCE = 60.0  # seconds until a pipe must have ended; somebody may have to type a password first
BLOCK = 1 << 16
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
REGULAR, PIPE, SOCKET = 0o100000, 0o010000, 0o140000
DESCRIPTORS = ("/dev/fd/", "/proc/self/fd/")
NOT_REGULAR = "is not a regular file"

# The words of strerror(3) for these decide exit codes of podman and docker, where they mean the user's program
PLAIN_WORDS = {
    errno.ENOENT: "is missing",
    errno.ENOTDIR: "is missing",
    errno.EACCES: "may not be read",
    errno.EISDIR: NOT_REGULAR,
    errno.ENXIO: NOT_REGULAR,
}


def read(path: str, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes. Raises UnreadableFile."""
    descriptor = open_named(path)
    try:
        return read_open(descriptor, path, most)
    finally:
        os.close(descriptor)


def open_named(path: str) -> int:
    """Return a descriptor of a regular file, or a copy of the descriptor that the path names. Raises UnreadableFile."""
    try:
        number = _descriptor(path)
        if number >= 0:
            return os.dup(number)
        if path != os.devnull and os.stat(path).st_mode & 0o170000 != REGULAR:
            raise UnreadableFile(path, NOT_REGULAR)
        return _opened(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _descriptor(path: str) -> int:
    """Return N of /dev/fd/N and the like, -1 for other paths."""
    if path == "/dev/stdin":
        return 0
    for before in DESCRIPTORS:
        if path.startswith(before):
            from runjail.sizes import read_descriptor

            number = read_descriptor(path.removeprefix(before))
            return -1 if number is None else number
    return -1


def _opened(path: str) -> int:
    """Open what was a regular file a moment ago, and look again."""
    descriptor = os.open(path, OPEN)
    if path == os.devnull or os.fstat(descriptor).st_mode & 0o170000 == REGULAR:
        return descriptor
    os.close(descriptor)
    raise UnreadableFile(path, NOT_REGULAR)


def read_open(descriptor: int, path: str, most: int) -> bytes:
    """Return what an open file, pipe or socket holds up to its end. path: its name in errors. Raises UnreadableFile."""
    try:
        found = os.fstat(descriptor)
        kind = found.st_mode & 0o170000
        if kind == REGULAR:
            data = _from_start(descriptor, most) if found.st_size <= most else None
        elif kind in (PIPE, SOCKET):
            data = _to_end(descriptor, most)
        elif path == os.devnull:
            data = b""
        else:
            raise UnreadableFile(path, NOT_REGULAR)
    except OSError as error:
        raise _unreadable(path, error) from None
    if data is None or len(data) > most:
        raise UnreadableFile(path, f"is larger than {most} bytes")
    return data


def _from_start(descriptor: int, most: int) -> bytes:
    """Read a file, one byte more than may be: it may be growing. Who shares it has an offset of its own."""
    pieces, size = [], 0
    while size <= most and (piece := os.pread(descriptor, min(BLOCK, most + 1 - size), size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _to_end(descriptor: int, most: int) -> bytes:
    """Read a pipe or socket."""
    import time

    pieces, size, end = [], 0, time.monotonic() + PATIENCE
    while size <= most:
        await_data(descriptor, end - time.monotonic())
        piece = os.read(descriptor, min(BLOCK, most + 1 - size))
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def await_data(descriptor: int, seconds: float = PATIENCE) -> None:
    """Wait until a read would not wait; making it not block would change it for its writer. Raises TimeoutError."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(max(0.0, seconds) * 1000):
        raise TimeoutError(errno.ETIMEDOUT, f"nothing came within {PATIENCE:g} s")


def _unreadable(path: str, error: OSError | ValueError) -> UnreadableFile:
    if isinstance(error, ValueError):  # a NUL, or half of a surrogate pair
        return UnreadableFile(path, "is no path")
    return UnreadableFile(path, PLAIN_WORDS.get(error.errno or 0) or f"cannot be read: {reason(error)}", error.errno)


def require_replaceable(path: str) -> None:
    """Refuse a path that is to become a file by rename(2) where something else is, as /dev/null. Raises UnreadableFile.

    A symbolic link is replaced unless it leads to such a thing.
    """
    try:
        if os.stat(path).st_mode & 0o170000 != REGULAR:
            raise UnreadableFile(path, NOT_REGULAR)
    except OSError:  # nothing is there, or nothing that could be followed
        pass


def write_file(
    path: str,
    content: bytes,
    mode: int,
    beside: str,
    directory: int | None = None,
    *,
    synced: bool = False,
    named: str = "",
) -> None:
    """Write a file so that readers see the old content or the new one, whole.

    beside: where it is written first; what is there is removed, and no link followed. Both paths may be relative to an
    open directory. synced: the content is on the disk before it has its name, so that a power cut leaves no empty file.
    named: the path for errors, where it is relative. Raises OSError: write(2) names no file, and a full disk is one of
    several.
    """
    try:
        _write_file(path, content, mode, beside, directory, synced)
    except OSError as error:
        error.filename = named or path
        raise


def _write_file(path: str, content: bytes, mode: int, beside: str, directory: int | None, synced: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(beside, flags, mode, dir_fd=directory)
    except FileExistsError:  # of one who was killed
        os.unlink(beside, dir_fd=directory)
        descriptor = os.open(beside, flags, mode, dir_fd=directory)
    try:
        write_all(descriptor, content)
        if synced:
            os.fsync(descriptor)
    except OSError:
        os.unlink(beside, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)
    os.rename(beside, path, src_dir_fd=directory, dst_dir_fd=directory)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
