"""Terminals: how they leave through a console socket and become a program's own, and copying.

A terminal leaves as one message with one descriptor. Only who has a terminal loads this, before it enters a container.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct
import termios

from runjail.errors import HostError, reason
from runjail.host.base import connect_named

NAME = b"/dev/ptmx\0"  # what receivers log as the terminal's name; conmon wants at least one byte
BLOCK = 1 << 16


def connect(path: str) -> _socket.socket:
    """Connect to the caller's console socket. Raises HostError, also when nobody accepts for some seconds."""
    try:
        return connect_named(path)
    except OSError as error:
        raise HostError(f"connecting to console socket {path}: {reason(error)}") from error


def send(connection: _socket.socket, descriptor: int, name: bytes = NAME, what: str = "the terminal") -> None:
    """Send the terminal's master, or another descriptor, and close both: the receiver owns it now. Raises HostError."""
    try:
        rights = struct.pack("i", descriptor)
        connection.sendmsg([name], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError as error:
        raise HostError(f"sending {what}: {reason(error)}") from error
    finally:
        connection.close()
        os.close(descriptor)


def receive(connection: _socket.socket) -> int:
    """Return a terminal's master that `send` sent. Raises HostError when none came.

    The buffer has CMSG_SPACE for the descriptor: with CMSG_LEN FreeBSD drops it.
    """
    _, ancillary, _, _ = connection.recvmsg(4096, _socket.CMSG_SPACE(struct.calcsize("i")))
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            (master,) = struct.unpack("i", data[: struct.calcsize("i")])
            os.set_inheritable(master, False)
            return int(master)
    raise HostError("no terminal came from the container")


def use(slave: int) -> None:
    """Make an open terminal standard input, output and error: what these were is not for the container to see."""
    for standard in (0, 1, 2):
        os.dup2(slave, standard)
    if slave > 2:
        os.close(slave)


def control() -> None:
    """Make standard input the controlling terminal of the session that we lead."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def copy_output(master: int, target: int) -> None:
    """Copy until the terminal has no more processes."""
    while block := read(master):
        write_all(target, block)


def read(source: int) -> bytes:
    """Return what there is to read, b"" at the end."""
    try:
        return os.read(source, BLOCK)
    except OSError:  # Linux says EIO when the last slave was closed, FreeBSD an empty read
        return b""


def write_all(target: int, block: bytes) -> None:
    """Write all of a block; what nobody reads any more is dropped, so that the program does not block."""
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError:
        pass
