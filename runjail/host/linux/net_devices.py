"""linux.netDevices: interfaces of ours that a container gets.

runtime-spec 1.3, config-linux.md, Network Devices. They are not fetched back: a network namespace that ends gives
physical interfaces back to the first one, and takes the others with it (network_namespaces(7)).
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.host.linux import libc
from runjail.host.linux.netlink import RouteSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.linux.change import Change
    from runjail.host.linux.netlink import Address
    from runjail.steps import NetDevices

OWN_NAMESPACE = "/proc/self/ns/net"


def move(change: Change, step: NetDevices) -> None:
    """Move interfaces into the network namespace of init, which has it by now. Raises HostError."""
    namespace = os.open(f"/proc/{change.host_state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    here = RouteSocket()
    there = _socket_in(namespace)
    try:
        for name, inside in step.devices:
            _move(here, there, namespace, name, inside)
    finally:
        here.close()
        there.close()
        os.close(namespace)


def _socket_in(namespace: int) -> RouteSocket:
    """Return a socket to another network namespace."""
    own = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(namespace, libc.CLONE_NEWNET)
        try:
            return RouteSocket()
        finally:
            libc.setns(own, libc.CLONE_NEWNET)
    finally:
        os.close(own)


def _move(here: RouteSocket, there: RouteSocket, namespace: int, name: str, inside: str) -> None:
    """Move one interface with its lasting addresses, and bring it up; one that cannot be moved stays as it was."""
    index, up = next(((index, up) for index, (known, up) in here.links().items() if known == name), (0, False))
    if not index:
        raise HostError(f"linux.netDevices.{name}: there is no such interface")
    before = there.links()
    if any(inside == known for known, _ in before.values()):
        raise HostError(f"linux.netDevices.{name}: the container has an interface {inside} already")
    try:
        addresses = [address for address in here.addresses(index) if address.lasts()]  # going down takes some away
        here.set_up(index, False)
        try:
            here.move(index, inside, namespace)
        except OSError:
            _bring_up(here, index, addresses, up)
            raise
        moved = next(found for found in there.links() if found not in before)  # it may have another number there
        _bring_up(there, moved, addresses, True)
    except OSError as error:
        raise HostError(f"linux.netDevices.{name}: moving it into the container: {reason(error)}") from error


def _bring_up(link: RouteSocket, index: int, addresses: list[Address], up: bool) -> None:
    """Give an interface its addresses, as far as it has lost them, and bring it up if it is to be."""
    for address in addresses:
        try:
            link.add_address(index, address)
        except FileExistsError:
            continue
    if up:
        link.set_up(index, True)
