"""A container's terminal: copied to and from containerd's FIFOs by a process for each direction.

The one for output sits in read(2) before the program starts: FreeBSD discards what nobody has read when a terminal's
session ends. Both end by themselves when the last process on the terminal has.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios

from runjail.container import console
from runjail.host.base import close_others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
