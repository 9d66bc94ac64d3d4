"""Addresses and interfaces for jails, through ifconfig(8).

The ioctls behind it differ between releases.
"""

from __future__ import annotations

from runjail.errors import HostError
from runjail.host import programs
from runjail.host.freebsd.lock import MachineLock
from runjail.host.freebsd.processes import find_jail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.steps import AddressAlias, Loopback, MoveInterface

IFCONFIG = "/sbin/ifconfig"


def add_alias(change: Change, step: AddressAlias) -> None:
    """Put an address on a host interface; one that is there already is not ours to remove later."""
    with MachineLock("addresses"):  # of two who want it at once one adds it
        if _has_address(step.interface, step.family, step.address):
            return
        change.note({"undo": "alias", "interface": step.interface, "family": step.family, "address": step.address})
        programs.check([IFCONFIG, step.interface, step.family, step.address, "alias"])


def remove_alias(_change: Change, note: Note) -> None:
    """Take the address off again, if it and its interface are still there."""
    interface, family, address = note["interface"], note["family"], note["address"]
    try:
        if not _has_address(interface, family, address):
            return
    except HostError:  # the interface is gone, and its addresses with it
        return
    programs.check([IFCONFIG, interface, family, address.partition("/")[0], "-alias"])


def _has_address(interface: str, family: str, address: str) -> bool:
    """Say whether the interface has the address. Raises HostError when there is no such interface."""
    wanted = _packed(family, address.partition("/")[0])
    output = programs.check([IFCONFIG, interface, family]).stdout.decode("utf-8", "replace")
    words = (line.split() for line in output.splitlines())
    return any(line[0] == family and _packed(family, line[1]) == wanted for line in words if len(line) > 1)


def _packed(family: str, address: str) -> bytes:
    import _socket

    try:  # fe80::1%lo0 carries its zone
        return _socket.inet_pton(_socket.AF_INET6 if family == "inet6" else _socket.AF_INET, address.partition("%")[0])
    except OSError:
        return address.encode()


def move_interface(change: Change, step: MoveInterface) -> None:
    """Give an interface to the jail's own network stack."""
    host_state = change.host_state
    owner = {"name": host_state.name, "root": host_state.root, "jid": host_state.jid}
    change.note({"undo": "interface", "interface": step.interface, **owner, "boot": change.boot_id})
    programs.check([IFCONFIG, step.interface, "vnet", str(host_state.jid)])


def return_interface(change: Change, note: Note) -> None:
    """Fetch the interface back from our jail; when that is gone, the interface came back by itself.

    One that was renamed or destroyed comes back by itself, or never.
    """
    if "name" in note and not find_jail(change.libc, note["name"], note["root"], note["jid"]):
        return
    programs.run([IFCONFIG, note["interface"], "-vnet", str(note["jid"])])


def raise_loopback(change: Change, _step: Loopback) -> None:
    """Bring lo0 up with 127.0.0.1 and ::1 in the jail's own network stack; it ends with the jail."""
    programs.check([IFCONFIG, "-j", str(change.host_state.jid), "lo0", "inet", "127.0.0.1/8", "up"])
