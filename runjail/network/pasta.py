"""pasta(1): the container has the host's addresses, and its ports are sockets of the host's.

`--network pasta:WORD,WORD...` has words of pasta's own command line, as podman takes them; those that say where it
runs, whose network it is or where it writes are ours.
"""

from __future__ import annotations

from runjail.errors import UsageError
from runjail.network.usermode import NET, PLACE, PROTOCOLS, READY, USER, UserNetwork, find, own_address, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NAME = "pasta"
PACKAGE = "passt"
SERVER = "169.254.1.1"  # podman's
FORWARDS = {"tcp": "-t", "udp": "-u"}
INWARD = ("-T", "-U")  # ports of the host's loopback, in the container
# Words of pasta's that may be given, each with whether a value follows
VALUES = """
-I --ns-ifname -m --mtu -a --address -n --netmask -M --mac-addr --ns-mac-addr -g --gateway -i --interface -o --outbound
--outbound-if4 --outbound-if6 -D --dns -S --search -H --hostname --fqdn --dns-forward --dns-host --map-host-loopback
--map-guest-addr -t --tcp-ports -u --udp-ports -T --tcp-ns -U --udp-ns
""".split()
FLAGS = """
--no-tcp --no-udp --no-icmp --no-dhcp --no-ndp --no-dhcpv6 --no-ra --no-map-gw -4 --ipv4-only -6 --ipv6-only
--config-net --dhcp-dns --dhcp-search --no-splice --host-lo-to-ns-lo
""".split()
MAP_GATEWAY = "--map-gw"  # podman's own word: not --no-map-gw
LONG = {"-t": "--tcp-ports", "-u": "--udp-ports", "-T": "--tcp-ns", "-U": "--udp-ns", "-a": "--address"}


def network(options: str, ports: Sequence[dict[str, Any]], user: bool) -> UserNetwork:
    """Return how the program is called. options: what follows the colon; user: whether there is a user namespace.

    Raises UsageError for words that it is not to be given, NetworkError where it is not installed.
    """
    given = _given(options)
    if not user:
        hint = "--network slirp4netns, or a network of plugins: runjail network create NAME"
        raise UsageError(f"--network {NAME} is for who is not root", hint)  # podman's rule
    argv = [find(NAME, PACKAGE), "--config-net", "--foreground", "--quiet", "--pid", f"{PLACE}/{READY}"]
    argv += _unless(given, "--no-map-gw", MAP_GATEWAY)
    argv += _unless(given, "--dns-forward", "--dns-forward", value=SERVER)
    published = [word for port in ports for word in _port(port)]
    for option in (*FORWARDS.values(), *INWARD):
        if option not in published:
            argv += _unless(given, option, LONG[option], value="none")
    argv += [*published, *(word for option, value in given if option != MAP_GATEWAY for word in (option, *value))]
    argv += ["--userns", f"{PLACE}/{USER}", "--netns", f"{PLACE}/{NET}"]
    server = _value(given, "--dns-forward") or SERVER
    address = _value(given, "-a", "--address") or own_address()
    return UserNetwork(NAME, tuple(argv), False, tuple(ports), "", address, "", server)


def _given(options: str) -> list[tuple[str, list[str]]]:
    """Return the words of an option list, each option with its value. Raises UsageError."""
    found: list[tuple[str, list[str]]] = []
    rest = words(options)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option in VALUES and (equals or rest):
            found.append((option, [value if equals else rest.pop(0)]))
        elif option in (*FLAGS, MAP_GATEWAY) and not equals:
            found.append((option, []))
        else:
            hint = "pasta(1) has them; runjail itself says where it runs, for which namespaces, and where it writes"
            raise UsageError(
                f"--network {NAME}: not an option that can be given, or without value: {option!r:.80}", hint
            )
    return found


def _unless(given: list[tuple[str, list[str]]], word: str, *others: str, value: str = "") -> list[str]:
    """Return an option of ours and its value, nothing where one of these names is given."""
    names = {option for option, _ in given}
    return [] if names & {word, *others} else [word, value] if value else [word]


def _value(given: list[tuple[str, list[str]]], *names: str) -> str:
    return next((value[0] for option, value in given if option in names), "")


def _port(port: dict[str, Any]) -> list[str]:
    if port["protocol"] not in PROTOCOLS:
        raise UsageError(f"--publish: {NAME} publishes ports of tcp and udp, not {port['protocol']}")
    where = f"{port['hostIP']}/" if port.get("hostIP") else ""
    return [FORWARDS[port["protocol"]], f"{where}{port['hostPort']}:{port['containerPort']}"]
