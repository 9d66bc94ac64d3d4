"""Standard input, output and error of a container: its FIFOs, terminals and loggers.

containerd's FIFOs go to the program itself, nothing is copied. The shim holds the other end of each FIFO open, so that
a client that goes away is no SIGPIPE and one that comes late no end-of-file. Only terminals need copying, which a small
process for each direction does. The one for output sits in read(2) before the program starts: FreeBSD discards what
nobody has read when a terminal's session ends. Both end by themselves when the last process on the terminal has.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import termios

from runjail.container import console
from runjail.errors import HostError, UsageError, reason
from runjail.host.base import close_others
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIGKILL = 9
READY_SECONDS = 10.0
FLAGS = os.O_CLOEXEC | os.O_NOCTTY


class Logger(Record):
    """A program that takes the output: its words, and the ends of the pipes that it reads."""

    words: tuple[str, ...]
    stdout: int
    stderr: int


class Stdio:
    """Open descriptors of one process.

    container_fds: for the program's 0, 1 and 2, or with a terminal for those who copy; closed by `release` once they
    are passed on. `close` closes what the shim holds on to.
    """

    def __init__(self, stdin: str, stdout: str, stderr: str, terminal: bool) -> None:
        """Open what containerd names: a path, `file://PATH`, `binary://PROGRAM?KEY=VALUE`, or nothing.

        Raises HostError or UsageError, with nothing left open.
        """
        self.container_fds: list[int] = []
        self.logger: Logger | None = None
        self._held: list[int] = []
        self._input = -1
        try:
            self._open_input(stdin)
            if stdout.startswith("binary://"):
                self._open_logger(stdout)
            else:
                self._open_output(stdout)
                self._open_output("" if terminal else stderr)
        except OSError as error:
            self.close()
            raise HostError(f"opening {error.filename or 'a pipe'}: {reason(error)}") from error
        except UsageError:
            self.close()
            raise

    def _open_input(self, path: str) -> None:
        if not path:
            self.container_fds.append(os.open("/dev/null", os.O_RDONLY | FLAGS))
            return
        self.container_fds.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | FLAGS))
        if _is_fifo(self.container_fds[0]):
            self._input = _open_waiting_for_nobody(path, os.O_WRONLY)
        os.set_blocking(self.container_fds[0], True)

    def _open_output(self, name: str) -> None:
        scheme, separator, rest = name.partition("://")
        if separator and scheme not in ("file", "fifo"):
            raise UsageError(f"output to {scheme}:// is not supported")
        path = rest.partition("?")[0] if separator else name
        if not path:
            self.container_fds.append(os.open("/dev/null", os.O_WRONLY | FLAGS))
        elif scheme == "file":
            self._open_file(path, 0)
        else:
            self._open_fifo(path)

    def _open_fifo(self, path: str) -> None:
        """Open both ends. A file is good as well; a link, which may lead anywhere, is neither."""
        try:
            reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | FLAGS)
        except FileNotFoundError:
            reading = -1
        if reading >= 0 and _is_fifo(reading):
            self._held.append(reading)
            self.container_fds.append(_open_waiting_for_nobody(path, os.O_WRONLY))
            return
        if reading >= 0:
            os.close(reading)
        self._open_file(path, os.O_NOFOLLOW)

    def _open_file(self, path: str, more: int) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | FLAGS | more
        self.container_fds.append(os.open(path, flags, 0o644))
        os.set_blocking(self.container_fds[-1], True)

    def _open_logger(self, name: str) -> None:
        path, _, query = name.removeprefix("binary://").partition("?")
        words = [_unquoted(word) for pair in query.split("&") if pair for word in pair.partition("=")[::2]]
        for _ in range(2):
            reading, writing = os.pipe()
            self._held.append(reading)
            self.container_fds.append(writing)
        self.logger = Logger((path, *(word for word in words if word)), *self._held[-2:])

    def needed(self) -> list[int]:
        """Return the descriptors that a worker must keep."""
        return [*self.container_fds, *((self.logger.stdout, self.logger.stderr) if self.logger else ())]

    def release(self) -> None:
        """Close what was passed on: the end of the program is the end of the file then."""
        _close(self.container_fds)
        if self.logger:  # who reads a pipe must be gone when the logger is
            _close(self._held)

    def close_input(self) -> None:
        """Let the program see the end of its input once the client has closed it too."""
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def close(self) -> None:
        """Close everything."""
        self.close_input()
        _close(self.container_fds)
        _close(self._held)


def start_logger(logger: Logger, env: dict[str, str], start: Callable[..., int]) -> int:
    """Start a logging program and wait until it says that it is ready. Returns its pid. Raises HostError.

    It reads descriptors 3 and 4, and closes 5 when it is ready (containerd, runtime/v2/README.md, Logging).
    """
    ready, child_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR | FLAGS)
    try:
        pid = start(logger.words, env, [null, null, null, logger.stdout, logger.stderr, child_end])
    except OSError as error:
        os.close(ready)
        raise HostError(f"starting the logging program {logger.words[0]}: {reason(error)}") from error
    finally:
        os.close(null)
        os.close(child_end)
    try:
        if not select.select([ready], [], [], READY_SECONDS)[0]:
            os.kill(pid, SIGKILL)
            raise HostError(f"the logging program {logger.words[0]} is not ready after {READY_SECONDS:g} s")
    finally:
        os.close(ready)
    return pid


def _is_fifo(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _open_waiting_for_nobody(path: str, flags: int) -> int:
    """Open the other end of a FIFO of which we have one; another one in its place is an error, nothing to wait for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | FLAGS)
    os.set_blocking(descriptor, True)
    return descriptor


def _unquoted(text: str) -> str:
    """Undo the escapes of a URL's query."""
    first, *rest = text.replace("+", " ").split("%")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


# A terminal ------------------------------------------------------------------------------------------------------


def start_copying(master: int, stdin: int, stdout: int) -> int:
    """Start both. Returns the pid of the one that writes the output, which is the last to end when all is written."""
    _fork(lambda: copy_input(stdin, master), [stdin, master])
    return _fork(lambda: console.copy_output(master, stdout), [master, stdout])


def _fork(copy: Callable[[], None], keep: list[int]) -> int:
    pid = os.fork()
    if not pid:
        try:
            os.closerange(0, 3)
            close_others(keep)
            copy()
        finally:
            os._exit(0)
    return pid


def copy_input(source: int, master: int) -> None:
    """Copy until the input or the terminal ends."""
    poll = select.poll()
    poll.register(master, 0)
    poll.register(source, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if master in ready:
            return
        block = console.read(source)
        if not block:
            return
        console.write_all(master, block)


def resize(master: int, width: int, height: int) -> None:
    """Set the terminal's size in characters."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
