"""A network without root's rights: a program moves packets between a namespace and sockets.

pasta(1) and slirp4netns(1) are such programs, and podman's for who is not root. Each has a module that says how it is
called (`network`), and the host runs it as long as the container's init lives (NetworkHost.run).
"""

from __future__ import annotations

import _socket

from runjail.errors import NetworkError, reason
from runjail.host import programs
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The descriptors that a program is started with: the container's namespaces, where it says that it is ready, and what
# is closed when it is to end. It opens a namespace by its own /proc/self/fd: it could not open ours, from inside.
NET, USER, READY, END = 3, 4, 5, 6
PLACE = "/proc/self/fd"
DEVICE = "/dev/net/tun"
PROTOCOLS = ("tcp", "udp")
TAKEN = "ss -lntu shows who has it; below 1024 only root may, or sysctl net.ipv4.ip_unprivileged_port_start"
ROUTED = ("192.0.2.1", 9)  # TEST-NET-1 (RFC 5737): nothing is sent there


class UserNetwork(Record):
    """One program as it is called for one container.

    name: podman's for the network. argv: with the descriptors above. enters: whether it is executed by root of the
    container's user namespace. ports: what it publishes, as ports.mappings returns them. socket: where it is told of
    them, a name in the container's directory; "" where argv has them. address: the container's, "" for unknown;
    gateway: the host's, as the container sees it, likewise; server: of names.
    """

    name: str
    argv: tuple[str, ...]
    enters: bool
    ports: tuple[dict[str, Any], ...]
    socket: str
    address: str
    gateway: str
    server: str


def from_data(data: dict[str, Any]) -> UserNetwork:
    """Return what record.to_data has made of one."""
    known: dict[str, Any] = {name: tuple(found) if isinstance(found, list) else found for name, found in data.items()}
    return UserNetwork(**known)


def find(name: str, package: str) -> str:
    """Return the path of a program. Raises NetworkError."""
    path = programs.which(name)
    if not path:
        raise NetworkError(f"--network {name}: the program is not installed", f"Debian's package {package} has it")
    return path


def own_address() -> str:
    """Return the address that this host's connections come from, "" without a route."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        probe.connect(ROUTED)  # sends nothing
        return str(probe.getsockname()[0])
    except OSError:
        return ""
    finally:
        probe.close()


def require_free(network: UserNetwork) -> None:
    """Try the ports that are to be published, which the program may leave out without a word. Raises NetworkError."""
    for port in network.ports:
        where = port.get("hostIP", "0.0.0.0")
        kind = _socket.SOCK_DGRAM if port["protocol"] == "udp" else _socket.SOCK_STREAM
        probe = _socket.socket(_socket.AF_INET6 if ":" in where else _socket.AF_INET, kind)
        try:
            if kind == _socket.SOCK_STREAM:  # connections that have ended keep nobody from listening
                probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            probe.bind((where, port["hostPort"]))
        except OSError as error:
            what = f"--publish: port {where}:{port['hostPort']}/{port['protocol']} of the host: {reason(error)}"
            raise NetworkError(what, TAKEN) from None
        finally:
            probe.close()


def words(options: str) -> list[str]:
    """Return the words of podman's NAME:WORD,WORD..."""
    return [word for word in options.split(",") if word] if options else []
