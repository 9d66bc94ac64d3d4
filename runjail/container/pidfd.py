"""--pidfd-socket: a descriptor of the container's process for whoever asked for it, as runc sends it."""

from __future__ import annotations

import os

from runjail.container import console
from runjail.errors import HostError, reason
from runjail.host.base import connect_named

OF_INIT, OF_EXEC = b"standard_init", b"setns_init"  # what runc's messages say of whom it is


def send(path: str, pid: int, name: bytes) -> None:
    """Send a pidfd of a process that cannot have ended unseen to a Unix socket. Raises HostError."""
    try:
        connection = connect_named(path)
    except OSError as error:
        raise HostError(f"connecting to pidfd socket {path}: {reason(error)}") from error
    console.send(connection, os.pidfd_open(pid), name, "the pidfd")
