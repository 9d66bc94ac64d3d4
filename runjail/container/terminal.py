"""run and exec in the foreground with a terminal: the container's, shown on ours."""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import select
import struct
import termios
import time

from runjail import signals
from runjail.container import console
from runjail.container.foreground import handle
from runjail.host.base import close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.target import Target

DRAIN_SECONDS = 1.0
NO_SIZE = struct.pack("HHHH", 0, 0, 0, 0)


def make_raw() -> list[Any] | None:
    """Have our own terminal pass on every key. Returns its mode of before, None where we have none."""
    if not os.isatty(0):
        return None
    saved, mode = termios.tcgetattr(0), termios.tcgetattr(0)
    mode[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR)
    mode[0] &= ~(termios.ICRNL | termios.IXON)
    mode[1] &= ~(termios.OPOST if os.isatty(1) else 0)
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    return saved


def restore(saved: list[Any] | None) -> None:
    """Give our terminal the mode that it had before `make_raw`."""
    if saved:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


class Terminal:
    """Our own terminal in raw mode while the container's is shown on it; what is no terminal is copied plainly.

    A file or pipe gets lines as the program wrote them, without the carriage returns that only a terminal wants; then
    ours goes on adding them, for whoever reads the pipe and writes to it.
    `remote` is the socket over which the container sends its terminal. Output is copied by a child of its own that
    sits in read(2) before the program starts: FreeBSD discards what nobody has read when a terminal's session ends.
    """

    def __init__(self, target: Target) -> None:
        """Have a socket for the container's terminal. target: the system that we are on."""
        self._local, self.remote = _socket.socketpair()
        self._shows_end = target.shows_end
        self._master = -1
        self._reader = 0
        self._saved: list[Any] | None = None

    def show(self, _pid: int = 0) -> None:
        """Take the terminal that the container has sent and begin to show it. Raises HostError when none came."""
        self._master = console.receive(self._local)
        if not os.isatty(1):
            mode = termios.tcgetattr(self._master)
            mode[1] &= ~termios.ONLCR
            termios.tcsetattr(self._master, termios.TCSANOW, mode)
        self._follow_size()  # now: the program may ask for it first of all
        self._local.close()
        self._reader = signals.fork()
        if not self._reader:
            try:
                handle(_signal.SIG_IGN)  # those of a whole process group reach the program through our parent
                close_others([self._master])
                console.copy_output(self._master, 1)
            finally:
                os._exit(0)

    def relay(self, pid: int) -> int:
        """Pass input on until the process has ended. Returns its exit status."""
        self._saved = make_raw()
        try:
            status = self._pass_input(pid)
            self._drain()
            return status
        finally:
            restore(self._saved)

    def _follow_size(self) -> None:
        def resize(_number: int = 0, _frame: object = None) -> None:
            try:
                size = fcntl.ioctl(0, termios.TIOCGWINSZ, NO_SIZE)
                if size != NO_SIZE:  # ours has none (script(1) without a terminal): consoleSize stays
                    fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
            except OSError:  # no terminal on our side: the container's keeps its size
                pass

        if os.isatty(0):
            resize()
            _signal.signal(_signal.SIGWINCH, resize)

    def _pass_input(self, pid: int) -> int:
        """Copy our input until the process ends; the short wait bounds how late its end is noticed."""
        inputs = [0]
        while True:
            if select.select(inputs, [], [], 0.02)[0]:
                if block := console.read(0):
                    console.write_all(self._master, block)
                else:
                    inputs = []
                    self._end_input()
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return signals.exit_status(status)

    def _end_input(self) -> None:
        """Type ^D: where our input ends, so does the program's. Nobody is to see it."""
        try:
            mode, quiet = termios.tcgetattr(self._master), termios.tcgetattr(self._master)
            quiet[3] &= ~termios.ECHO
            if self._shows_end:  # else the mode, which the program may be changing, is not for us to touch
                termios.tcsetattr(self._master, termios.TCSANOW, quiet)
            console.write_all(self._master, b"\x04")
            if self._shows_end:
                termios.tcsetattr(self._master, termios.TCSANOW, mode)
        except termios.error:  # nobody has the terminal any more
            pass

    def _drain(self) -> None:
        """Let the reader finish; a background process that keeps the terminal open is not waited for."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while not os.waitpid(self._reader, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(self._reader, _signal.SIGKILL)
                os.waitpid(self._reader, 0)
                return
            time.sleep(0.002)
