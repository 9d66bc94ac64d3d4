"""Ids that a user namespace has: writing them for one, and making one that lends them to a mount."""

from __future__ import annotations

import _signal
import os

from runjail import signals
from runjail.errors import HostError, reason
from runjail.host.linux import cgroups, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from runjail.spec.model import IdMappings


def write(pid: int, mappings: IdMappings) -> None:
    """Write the ids of the user namespace that a process has made, once (user_namespaces(7)). Raises HostError."""
    for kind, ranges in (("uid", mappings.uids), ("gid", mappings.gids)):
        try:
            cgroups.write(f"/proc/{pid}/{kind}_map", "".join("{} {} {}\n".format(*one) for one in ranges))
        except OSError as error:
            raise HostError(f"{kind}Mappings: writing {kind}_map: {reason(error)}") from error


def namespace(mappings: IdMappings) -> int:
    """Return a descriptor of a user namespace with these ids, in which nobody is. Raises HostError."""
    reading, writing = os.pipe()
    pid = signals.fork()
    if not pid:
        _make(writing)
    os.close(writing)
    try:
        if not os.read(reading, 1):
            raise HostError("making a user namespace for a mount: unshare(2) is refused")
        write(pid, mappings)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reading)
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)


def _make(writing: int) -> NoReturn:
    try:
        libc.unshare(libc.CLONE_NEWUSER)
        os.write(writing, b"1")
        _signal.pause()
    finally:
        os._exit(1)
