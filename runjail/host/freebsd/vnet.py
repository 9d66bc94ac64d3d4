"""A container's network stack that exists before its jail: CNI plugins fill it.

It belongs to a jail without processes, whose child the container's jail is, as podman does it: the port of the plugins
takes a jail's name where Linux has the path of a namespace.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host import programs
from runjail.host.freebsd.jails import run_jail
from runjail.host.freebsd.network import IFCONFIG
from runjail.host.freebsd.processes import find_jail
from runjail.host.program_lock import InheritedLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import HostState, Note, UndoLog
    from runjail.host.freebsd.change import Change
    from runjail.host.freebsd.libc import Libc
    from runjail.host.networks import NetworkProgram

ROOT = "/"  # of the jail; nobody ever runs in it
CHILDREN = "999"  # the container's jail, and those that it may have
# What the container's jail may be given at most: a child has no more than its parent (jail(8), Hierarchical Jails).
ALLOWED = ("raw_sockets", "chflags", "mount", "mount.devfs", "mount.nullfs", "mount.tmpfs")


class FreeBSDNetworks:
    """`NetworkHost` for FreeBSD. boot_id: what notes are valid for, Host.boot_id."""

    def __init__(self, libc: Libc, boot_id: str) -> None:
        self._libc, self._boot_id = libc, boot_id

    def name(self, directory: str) -> str:
        """Return a jail's name that no other one has."""
        return f"vnet-{os.urandom(6).hex()}"

    def make(self, name: str, host_state: HostState, note: UndoLog) -> None:
        """Make the jail, with lo0 up. Raises HostError."""
        params: list[tuple[str, str | None]] = [
            ("path", ROOT),
            ("persist", None),
            ("vnet", "new"),
            ("children.max", CHILDREN),
        ]
        params += [("enforce_statfs", "0"), ("devfs_ruleset", "4")]
        allowed = [(f"allow.{word}", None) for word in ALLOWED]
        note({"undo": "netns", "name": name, "boot": self._boot_id})
        with InheritedLock(host_state.state):
            jid = run_jail(name, [*params, *allowed])
            programs.check([IFCONFIG, "-j", str(jid), "lo0", "inet", "127.0.0.1/8", "up"])

    def has(self, name: str) -> bool:
        """Say whether there is such a jail."""
        return self._libc.jail(name) is not None

    def traffic(self, host_state: HostState) -> tuple[int, int] | None:
        """Return the sums of its interfaces but lo0."""
        from runjail.host.freebsd import interfaces

        rows = interfaces.moved(self._libc, host_state)
        return None if rows is None else (_sum(rows, "RxBytes"), _sum(rows, "TxBytes"))

    def remove_bridge(self, name: str) -> bool:
        """Destroy a bridge unless it has members; one that is gone is success. Raises HostError."""
        shown = programs.run([IFCONFIG, name])
        if shown.status:
            return True
        if b"\tmember: " in shown.stdout or b" member: " in shown.stdout:
            return False
        programs.check([IFCONFIG, name, "destroy"])
        return True

    def run(self, program: NetworkProgram, host_state: HostState, note: UndoLog) -> None:
        """Refuse: such programs are of Linux, and whoever asks for one has been told so."""
        raise HostError(f"--network {program.name}: not on FreeBSD")


def _sum(rows: list[dict[str, str | int]], key: str) -> int:
    return sum(int(row[key]) for row in rows)


def remove(change: Change, note: Note) -> None:
    """Remove the jail; its interfaces go with it, or back to the host. Raises HostError."""
    jid = find_jail(change.libc, note["name"], ROOT)
    if not jid:
        return
    try:
        change.libc.jail_remove(jid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):  # gone meanwhile
            raise HostError(f"remove jail {note['name']}: {reason(error)}") from error
