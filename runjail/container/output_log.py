"""What a detached container wrote, in podman's form (k8s-file): written line by line, and read back.

    2026-11-30T12:00:00.123456789+00:00 stdout F a whole line
    2026-11-30T12:00:01.123456789+00:00 stdout P the beginning of one

Two files hold at most the size that was asked for: the present one, and the one before it, which has `.1` at the end of
its name. Each line is one write, so what a crash leaves is lines; what is cut off is passed over.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Entry = tuple[str, str, bool, bytes]  # time, stream, whether the line ends here, text

FILE = "ctr.log"  # podman's name
OLDER = ".1"
MOST = 16 << 20  # bytes of both files when nobody says
LEAST = 4096
STREAMS = ("stdout", "stderr")


class OutputLog:
    """The two files while they are written. What cannot be written, on a full disk, is lost: nobody is kept waiting."""

    def __init__(self, path: str, most: int) -> None:
        self.path, self._half = path, max(most, LEAST) // 2
        self._file = -1
        self._open()

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, stream: str, block: bytes) -> None:
        """Append what came from a stream, with the time of now."""
        head = f"{stamp(time.time_ns())} {stream} ".encode()
        whole, newline, rest = block.rpartition(b"\n")
        lines = [head + b"F " + line + b"\n" for line in whole.split(b"\n")] if newline else []
        for line in [*lines, head + b"P " + rest + b"\n"] if rest else lines:
            self._append(line)

    def _append(self, line: bytes) -> None:
        try:
            if self._size and self._size + len(line) > self._half:
                self._turn()
            self._size += os.write(self._file, line)
        except OSError:
            pass

    def _turn(self) -> None:
        """Begin a new file; the present one takes the place of the one before it."""
        os.replace(self.path, self.path + OLDER)
        os.close(self._file)
        self._open()


def stamp(nanoseconds: int) -> str:
    """Return a time since the epoch as conmon writes it."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:09d}+00:00"


def entries(data: bytes) -> Iterator[Entry]:
    """Yield what the lines of a file say; what is no line of ours is passed over."""
    for line in data.split(b"\n"):
        head = line.split(b" ", 3)
        if len(head) == 4 and head[2] in (b"F", b"P") and head[1] in (b"stdout", b"stderr"):
            yield head[0].decode("ascii", "replace"), head[1].decode(), head[2] == b"F", head[3]


class Reader:
    """The two files while they are read: from the beginning, and on to what is written later."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file, self._rest = -1, b""

    def more(self) -> list[Entry]:
        """Return what has been written since the last call, whole lines only. Raises OSError."""
        data = self._rest + self._all()
        while following := self._following():
            data += self._all()  # by now nobody writes into the file that we have
            self._open(following)
            data += self._all()
        whole, newline, self._rest = data.rpartition(b"\n")
        return list(entries(whole)) if newline else []

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _all(self) -> bytes:
        found = b""
        while self._file >= 0 and (block := os.read(self._file, 1 << 20)):
            found += block
        return found

    def _following(self) -> str:
        """Return the file that comes after the one that is open, "" while that is the last."""
        own = os.fstat(self._file) if self._file >= 0 else None
        older, present = self._inode(self.path + OLDER), self._inode(self.path)
        if own and present == (own.st_dev, own.st_ino):
            return ""
        if older and not (own and older == (own.st_dev, own.st_ino)):
            return self.path + OLDER
        return self.path if present else ""

    @staticmethod
    def _inode(path: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _open(self, path: str) -> None:
        self.close()
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
