"""A container's terminal: copied to and from containerd's FIFOs by a process for each direction.

The one for output sits in read(2) before the program starts: FreeBSD discards what nobody has read when a terminal's
session ends. Both end by themselves when the last process on the terminal has.
"""

import fcntl
import os
import select
import struct
import termios

from runjail.host.base import close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 1 << 16


def start_copying(master: int, stdin: int, stdout: int) -> int:
    """Start both. Returns the pid of the one that writes the output, which is the last to end when all is written."""
    _fork(lambda: copy_input(stdin, master), [stdin, master])
    return _fork(lambda: copy_output(master, stdout), [master, stdout])


def _fork(copy: "Callable[[], None]", keep: list[int]) -> int:
    pid = os.fork()
    if not pid:
        try:
            os.closerange(0, 3)
            close_others(keep)
            copy()
        finally:
            os._exit(0)
    return pid


def copy_output(master: int, target: int) -> None:
    """Copy until the terminal has no more processes."""
    while block := _read(master):
        _write_all(target, block)


def copy_input(source: int, master: int) -> None:
    """Copy until the input or the terminal ends."""
    poll = select.poll()
    poll.register(master, 0)
    poll.register(source, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if master in ready:
            return
        block = _read(source)
        if not block:
            return
        _write_all(master, block)


def resize(master: int, width: int, height: int) -> None:
    """Set the terminal's size in characters."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def _read(source: int) -> bytes:
    try:
        return os.read(source, BLOCK)
    except OSError:  # Linux says EIO when the last slave was closed, FreeBSD an empty read
        return b""


def _write_all(target: int, block: bytes) -> None:
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError:  # nobody reads any more: go on, so that the program does not block
        pass
