"""Ids that a user namespace has: writing them for one, and making one that lends them to a mount."""

from __future__ import annotations

import _socket
import errno
import os

from runjail import signals
from runjail.errors import HostError, reason
from runjail.host.linux import cgroups, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from runjail.spec.model import IdMappings, IdRange


def write(pid: int, mappings: IdMappings) -> None:
    """Write the ids of the user namespace that a process has made, once (user_namespaces(7)).

    An ordinary user may do so for its own two ids, and newuidmap(1) and newgidmap(1) do it for those that /etc/subuid
    and /etc/subgid give to it. Raises HostError.
    """
    for kind, ranges in (("uid", mappings.uids), ("gid", mappings.gids)):
        try:
            _write(pid, kind, ranges)
        except OSError as error:
            if error.errno != errno.EPERM or not os.geteuid():
                raise HostError(f"{kind}Mappings: writing {kind}_map: {reason(error)}") from error
            _have_written(pid, kind, ranges)


def _write(pid: int, kind: str, ranges: tuple[IdRange, ...]) -> None:
    if kind == "gid" and os.geteuid() and [one[1:] for one in ranges] == [(os.getegid(), 1)]:
        cgroups.write(f"/proc/{pid}/setgroups", "deny")  # what a group is denied it could have by leaving the group
    cgroups.write(f"/proc/{pid}/{kind}_map", "".join("{} {} {}\n".format(*one) for one in ranges))


def _have_written(pid: int, kind: str, ranges: tuple[IdRange, ...]) -> None:
    from runjail.host import programs

    tool = programs.which(f"new{kind}map")
    if not tool:
        raise HostError(f"{kind}Mappings: more than one's own id takes new{kind}map", "Debian: apt install uidmap")
    result = programs.run((tool, str(pid), *(str(number) for one in ranges for number in one)))
    if result.status:
        hint = f"/etc/sub{kind} has to give these ids to user {os.getuid()}: usermod --add-sub{kind}s"
        raise HostError(f"{kind}Mappings: {programs.first_line(result.stderr)}", hint)


def namespace(mappings: IdMappings) -> int:
    """Return a descriptor of a user namespace with these ids, in which nobody is. Raises HostError."""
    parent_end, child_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    pid = signals.fork()
    if not pid:
        parent_end.close()
        _make(child_end)
    child_end.close()
    try:
        if not parent_end.recv(1):
            raise HostError("making a user namespace for a mount: unshare(2) is refused")
        write(pid, mappings)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        parent_end.close()
        signals.kill_child(pid)


def _make(link: _socket.socket) -> NoReturn:
    try:
        libc.unshare(libc.CLONE_NEWUSER)
        link.send(b"1")
        link.recv(1)  # until our parent ends us, or has ended itself
    finally:
        os._exit(1)
