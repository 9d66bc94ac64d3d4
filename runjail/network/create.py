"""A new network: a plain list file for the plugins bridge, portmap and firewall; and its end."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runjail import jsonio, locks
from runjail.errors import InvalidConfig, NetworkError, UsageError, reason
from runjail.files import write_file
from runjail.network import plugins
from runjail.network.lists import CHECKED, NetworkList, files, is_name, parse

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

VERSION = "1.0.0"
MARK = "org.runjail.network"  # in a list: we have made it, and its bridge is ours to remove
POOL = ipaddress.IPv4Network("10.89.0.0/16")  # podman's
ROUTES = "/proc/net/route"
DATA = "/var/run/cni/networks"  # addresses in use; gone with a boot, as the containers that have them are
LONGEST = 15  # bytes of an interface's name
CHAIN = ("bridge", "portmap", "firewall")


class Bridge:
    """What `network create` is asked for. subnets: in CIDR form, none for a free one; gateways: of these, in order."""

    def __init__(self, name: str, subnets: Sequence[str], gateways: Sequence[str], internal: bool) -> None:
        self.name, self.subnets, self.gateways, self.internal = name, subnets, gateways, internal


def create(bridge: Bridge, directories: Sequence[str], bins: Sequence[str], timeout: float) -> str:
    """Write the list of a new network into the first directory. Returns its path.

    Raises UsageError, NetworkError where a name or all addresses are taken, or a plugin is not installed.
    """
    if not is_name(bridge.name) or bridge.name in ("host", "none"):
        raise UsageError(
            f"not a name for a network: {bridge.name[:80]!r}",
            "it begins with a letter or digit, and has only these and _ . -; host and none are taken",
        )
    path = f"{directories[0]}/{bridge.name}.conflist"
    _document(bridge, VERSION, path, directories)  # what cannot be is refused first, and before anything is made
    version = _version([*_kinds(bridge), "host-local"], bins, timeout)
    try:
        os.makedirs(directories[0], 0o755, exist_ok=True)
        directory = os.open(directories[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            locks.lock(directory)  # of two at once, the second sees the first one's name and addresses
            text = jsonio.dumps(_document(bridge, version, path, directories), indent=2)
            write_file(path, f"{text}\n".encode(), 0o644, f"{directories[0]}/.{bridge.name}.new")
        finally:
            os.close(directory)
    except OSError as error:
        raise NetworkError(f"writing {path}: {reason(error)}") from error
    return path


def _kinds(bridge: Bridge) -> Sequence[str]:
    return CHAIN[:1] if bridge.internal else CHAIN


def _version(kinds: Sequence[str], bins: Sequence[str], timeout: float) -> str:
    """Return the version that all of these plugins have: ours, or the last one of before 1.0. Raises NetworkError."""
    wanted = [VERSION, CHECKED[0]]
    for kind in kinds:
        supported = plugins.call("VERSION", kind, {"cniVersion": VERSION}, {}, bins, timeout).get("supportedVersions")
        known = supported if isinstance(supported, list) else []
        wanted = [version for version in wanted if version in known]
    if not wanted:
        raise NetworkError(f"the CNI plugins {', '.join(kinds)} have no version in common: {VERSION} or {CHECKED[0]}")
    return wanted[0]


def _known(directories: Sequence[str]) -> Iterator[NetworkList]:
    for path in files(directories):
        try:
            yield parse(path)
        except InvalidConfig:  # another version, or somebody else's: neither name nor addresses of it are known
            continue


def _document(bridge: Bridge, version: str, path: str, directories: Sequence[str]) -> dict[str, Any]:
    """Return the list with what no other one has. Raises UsageError, NetworkError."""
    known = list(_known(directories))
    if os.path.lexists(path) or any(listed.name == bridge.name for listed in known):
        raise NetworkError(f"there is a network {bridge.name} already", f"runjail network inspect {bridge.name}")
    subnets, interface = _subnets(bridge, known), _interface(bridge.name, known)
    ranges = [[{"subnet": str(subnet), "gateway": gateway}] for subnet, gateway in subnets]
    routes = [{"dst": "0.0.0.0/0" if subnet.version == 4 else "::/0"} for subnet, _gateway in subnets]
    addresses: dict[str, Any] = {"type": "host-local", "ranges": ranges, "dataDir": DATA}
    first: dict[str, Any] = {"type": "bridge", "bridge": interface, "isGateway": True, "hairpinMode": True}
    first |= {"ipMasq": not bridge.internal, "ipam": addresses | ({} if bridge.internal else {"routes": routes})}
    more = {"portmap": {"type": "portmap", "capabilities": {"portMappings": True}}, "firewall": {"type": "firewall"}}
    listed = [first, *(more[kind] for kind in _kinds(bridge)[1:])]
    return {"cniVersion": version, "name": bridge.name, MARK: True, "plugins": listed}


def _subnets(bridge: Bridge, known: list[NetworkList]) -> list[tuple[Subnet, str]]:
    """Return each subnet with its gateway. Raises UsageError, NetworkError."""
    taken = [subnet for listed in known for subnet in used(listed)]
    wanted = [_read(text) for text in bridge.subnets] or [_free(taken)]
    for subnet in wanted:
        other = next((each for each in taken if each.version == subnet.version and each.overlaps(subnet)), None)
        if other:
            raise NetworkError(f"--subnet: {subnet} overlaps {other} of another network")
    if len(bridge.gateways) > len(wanted):
        raise UsageError("--gateway: more than there are subnets")
    chosen = [*bridge.gateways, *("" for _ in wanted)]
    return [(subnet, _gateway(subnet, chosen[number])) for number, subnet in enumerate(wanted)]


def _read(text: str) -> Subnet:
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(f"--subnet: not a network: {text[:80]!r}", "for example 10.89.7.0/24") from None
    if found.num_addresses < 4:
        raise UsageError(f"--subnet: {text[:80]} has no addresses for containers", "such as 10.88.1.0/24")
    return found


def _gateway(subnet: Subnet, text: str) -> str:
    if not text:
        return str(subnet[1])
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"--gateway: not an address: {text[:80]!r}") from None
    if found not in subnet:
        raise UsageError(f"--gateway: {text} is not in {subnet}")
    return str(found)


def _free(taken: list[Subnet]) -> Subnet:
    taken = [*taken, *_routed()]
    for subnet in POOL.subnets(new_prefix=24):
        if not any(each.version == 4 and each.overlaps(subnet) for each in taken):
            return subnet
    raise NetworkError(f"every network of {POOL} is taken", "--subnet names another one")


def _routed() -> list[Subnet]:
    """Return the networks that this machine has routes to: proc_net_route(5), little-endian words in hexadecimal."""
    try:
        with open(ROUTES, encoding="utf-8") as file:
            lines = [line.split() for line in file][1:]
    except OSError:  # not Linux
        return []
    found: list[Subnet] = []
    for words in lines:
        address, mask = (int.from_bytes(bytes.fromhex(words[place])[::-1], "big") for place in (1, 7))
        if mask:
            found.append(ipaddress.ip_network((address, mask.bit_count())))
    return found


def used(listed: NetworkList) -> Iterator[Subnet]:
    """Yield the subnets of a list, as host-local has them."""
    for plugin in listed.plugins:
        addresses = plugin.get("ipam")
        addresses = addresses if isinstance(addresses, dict) else {}
        ranges = addresses.get("ranges")
        sets = [each for each in ranges if isinstance(each, list)] if isinstance(ranges, list) else []
        for entry in [addresses, *(each for several in sets for each in several if isinstance(each, dict))]:
            try:
                yield ipaddress.ip_network(entry["subnet"], strict=False)
            except (KeyError, ValueError, TypeError):
                continue


def _interface(name: str, known: list[NetworkList]) -> str:
    """Return a name for the bridge that no other network has."""
    taken = {plugin.get("bridge") for listed in known for plugin in listed.plugins}
    number, chosen = 0, f"cni-{name}"
    while chosen in taken or len(chosen) > LONGEST:
        number, chosen = number + 1, f"cni-{number}"
    return chosen


def remove(listed: NetworkList, remove_bridge: Callable[[str], bool]) -> list[str]:
    """Remove a list, and its bridge if we made it. Returns the bridges that stay, as somebody is on them."""
    try:
        os.unlink(listed.path)
    except FileNotFoundError:  # somebody else did
        pass
    except OSError as error:
        raise NetworkError(f"removing {listed.path}: {reason(error)}") from error
    bridges = [str(plugin.get("bridge")) for plugin in listed.plugins if plugin["type"] == "bridge"]
    if not listed.document.get(MARK):
        return []
    left = [bridge for bridge in bridges if not remove_bridge(bridge)]
    if not left:
        _forget_addresses(f"{DATA}/{listed.name}")
    return left


def _forget_addresses(directory: str) -> None:
    """Remove what host-local has kept of a network where no address is in use."""
    try:
        names = os.listdir(directory)
        if all(name == "lock" or name.startswith("last_reserved_ip") for name in names):
            for name in names:
                os.unlink(f"{directory}/{name}")
            os.rmdir(directory)
    except OSError:  # never used, or somebody begins to
        pass
