"""`-p [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, as podman and docker take it."""

from __future__ import annotations

import _socket

from runjail.errors import UsageError, reason
from runjail.sizes import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535
EXAMPLE = "for example 8080:80, 127.0.0.1:8080:80, 5000-5002:5000-5002, 5353:53/udp"


def mappings(texts: list[str]) -> list[dict[str, Any]]:
    """Return what the capability portMappings takes. Raises UsageError, also for a port that is given twice."""
    bound: list[_socket.socket] = []  # as long as they are open, no port is chosen twice
    try:
        found = [mapping for text in texts for mapping in _mappings(text, bound)]
    finally:
        for each in bound:
            each.close()
    taken: set[tuple[str, int, str]] = set()
    for mapping in found:
        place = (mapping["protocol"], mapping["hostPort"], mapping.get("hostIP", ""))
        if place in taken:
            raise UsageError(f"--publish: port {place[1]}/{place[0]} of the host is given twice")
        taken.add(place)
    return found


def _mappings(text: str, bound: list[_socket.socket]) -> list[dict[str, Any]]:
    ports, _, protocol = text.partition("/")
    address, ports = _address(ports, text)
    host, _, container = ports.rpartition(":")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise UsageError(f"--publish: the protocol is not tcp, udp or sctp: {text[:80]!r}")
    inside = _range(container, text)
    outside = _range(host, text) if host else [_free(address, protocol, bound) for _ in inside]
    if len(outside) != len(inside):
        raise UsageError(f"--publish: as many ports of the host as of the container: {text[:80]!r}", EXAMPLE)
    where = {"hostIP": address} if address else {}
    return [
        {"hostPort": port, "containerPort": to, "protocol": protocol, **where}
        for port, to in zip(outside, inside, strict=True)
    ]


def _address(ports: str, text: str) -> tuple[str, str]:
    """Return the address before the ports, "" for every one, and the ports."""
    if ports.startswith("["):
        address, closed, ports = ports[1:].partition("]:")
        family = _socket.AF_INET6
    elif ports.count(":") == 2:
        address, closed, ports = ports.partition(":")
        family = _socket.AF_INET
    else:
        return "", ports
    if not address and closed:
        return "", ports
    try:
        _socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise UsageError(f"--publish: not an address before the ports: {text[:80]!r}", EXAMPLE) from None
    return address, ports


def _range(text: str, whole: str) -> list[int]:
    first, dash, last = text.partition("-")
    low = read_number(first, HIGHEST, 1)
    high = read_number(last, HIGHEST, 1) if dash else low
    if low is None or high is None or high < low:
        raise UsageError(f"--publish: not [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]: {whole[:80]!r}", EXAMPLE)
    return list(range(low, high + 1))


def _free(address: str, protocol: str, bound: list[_socket.socket]) -> int:
    """Return a port of the host that nobody uses at this moment, as podman chooses one; its socket goes to `bound`."""
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    try:
        bound.append(_socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, kind))
        bound[-1].bind((address, 0))
    except OSError as error:  # the address is not this host's
        what = f"--publish: choosing a port of {address or 'this host'}: {reason(error)}"
        raise UsageError(what, "HOST:CONTAINER names one") from None
    port: int = bound[-1].getsockname()[1]
    return port
