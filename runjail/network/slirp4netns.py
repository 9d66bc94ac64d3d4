"""slirp4netns(1): a network of its own for the container, of which ports are published over a socket.

Options are podman's of `--network slirp4netns:NAME=VALUE,...` (podman-run(1)), and what is not said is what podman's
container has.
"""

from __future__ import annotations

import ipaddress

from runjail.errors import UsageError
from runjail.network.usermode import END, NET, PLACE, PROTOCOLS, READY, UserNetwork, find, own_address, words
from runjail.sizes import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NAME = "slirp4netns"
INTERFACE = "tap0"
CIDR = "10.0.2.0/24"
SERVER, CONTAINER = 3, 100  # addresses in it (slirp4netns(1), --cidr)
LARGEST_MTU = 65520  # what Linux lets a TUN device have, less a header
FLAGS = {"true": True, "false": False}
SOCKET = "slirp4netns"
KNOWN = ("allow_host_loopback", "cidr", "enable_ipv6", "mtu", "outbound_addr", "outbound_addr6", "port_handler")


def network(options: str, ports: Sequence[dict[str, Any]], user: bool) -> UserNetwork:
    """Return how the program is called. options: what follows the colon; user: whether there is a user namespace.

    Raises UsageError for options and ports that it has not, NetworkError where it is not installed.
    """
    found = _options(options)
    inside = _cidr(found.get("cidr", CIDR))
    _check(ports)
    loopback, ipv6 = (_flag(found, name) for name in ("allow_host_loopback", "enable_ipv6"))
    argv = [find(NAME, NAME), "-c", "-r", str(READY), "-e", str(END), f"--mtu={_mtu(found)}", f"--cidr={inside}"]
    argv += ["--enable-sandbox", "--enable-seccomp", "-a", SOCKET]
    argv += [] if loopback else ["--disable-host-loopback"]
    argv += ["--enable-ipv6"] if ipv6 else []
    for option, version in (("outbound_addr", 4), ("outbound_addr6", 6)):
        if option in found:
            argv.append(f"--{option.replace('_', '-')}={_outbound(option, found[option], version)}")
    argv += ["--netns-type=path", f"{PLACE}/{NET}", INTERFACE]
    address, server = str(inside[CONTAINER]), str(inside[SERVER])
    return UserNetwork(NAME, tuple(argv), user, tuple(ports), SOCKET, address, own_address(), server)


def _options(options: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words(options):
        name, equals, value = word.partition("=")
        if name not in KNOWN or not equals or name in found:
            raise UsageError(f"--network {NAME}: not an option, or given twice: {word[:80]!r}", f"{'=, '.join(KNOWN)}=")
        found[name] = value
    if found.get("port_handler", NAME) != NAME:  # podman's default, a program of its own
        raise UsageError(f"--network {NAME}: port_handler={found['port_handler'][:40]}: {NAME} publishes ports itself")
    return found


def _cidr(text: str) -> ipaddress.IPv4Network:
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError:
        found = ipaddress.IPv4Network("0.0.0.0/32")
    if found.num_addresses <= CONTAINER + 1:
        raise UsageError(f"--network {NAME}: cidr: not a network of 128 addresses or more: {text[:80]!r}")
    return found


def _mtu(found: dict[str, str]) -> int:
    number = read_number(found.get("mtu", str(LARGEST_MTU)), LARGEST_MTU, 68)
    if number is None:
        raise UsageError(f"--network {NAME}: mtu: not 68 to {LARGEST_MTU}: {found['mtu'][:40]!r}")
    return number


def _flag(found: dict[str, str], name: str) -> bool:
    """Return a flag: IPv6 is on, the host's loopback off unless somebody says otherwise, as with podman."""
    default = "true" if name == "enable_ipv6" else "false"
    if found.get(name, default) not in FLAGS:
        raise UsageError(f"--network {NAME}: {name}: not true or false: {found[name][:40]!r}")
    return FLAGS[found.get(name, default)]


def _outbound(option: str, text: str, version: int) -> str:
    """Return an address of the host from which the container's connections come; an interface's name is one too."""
    try:
        if ipaddress.ip_address(text).version == version:
            return text
    except ValueError:
        if text[:1].isalnum() and text.replace("-", "").replace(".", "").isalnum():
            return text
    raise UsageError(f"--network {NAME}: {option}: no IPv{version} address and no interface: {text[:80]!r}")


def _check(ports: Sequence[dict[str, Any]]) -> None:
    for port in ports:
        if port["protocol"] not in PROTOCOLS or ":" in port.get("hostIP", ""):
            hint = "--network pasta publishes ports of IPv6, a network of plugins those of sctp"
            raise UsageError(f"--publish: {NAME} publishes ports of tcp and udp at addresses of IPv4", hint)
