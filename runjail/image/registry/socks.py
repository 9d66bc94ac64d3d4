"""SOCKS 5 (RFC 1928, RFC 1929): a connection that a proxy makes for us.

The proxy looks the name up, with `socks5:` as with `socks5h:`, as Go's clients have it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from urllib.parse import unquote

from runjail.image.registry import urls

SCHEMES = ("socks5", "socks5h")
VERSION, CONNECT = 5, 1
NO_PASSWORD, PASSWORD, NOTHING = 0, 2, 0xFF  # methods of authentication
IPV4, NAME, IPV6 = 1, 3, 4  # kinds of addresses
PORT = 1080
REFUSALS = {
    1: "it failed",
    2: "its rules do not allow it",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "connection refused",
    6: "no answer in time",
    7: "it makes no connections",
    8: "it knows no such addresses",
}


@dataclass(frozen=True)
class Socks:
    """A proxy: where it is, and who we are to it."""

    host: str
    port: int
    username: str = ""
    password: str = ""

    def connect(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """Return a connection to a host, by name or address. timeout: seconds for each step. Raises OSError."""
        connection = socket.create_connection((self.host, self.port), timeout)
        try:
            self._greet(connection)
            connection.sendall(struct.pack("BBB", VERSION, CONNECT, 0) + _address(host) + struct.pack(">H", port))
            _read_reply(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _greet(self, connection: socket.socket) -> None:
        methods = bytes((NO_PASSWORD, PASSWORD)) if self.username else bytes((NO_PASSWORD,))
        connection.sendall(bytes((VERSION, len(methods))) + methods)
        version, method = _exactly(connection, 2)
        if version != VERSION:
            raise OSError("the proxy does not speak SOCKS 5")
        if method == PASSWORD and self.username:
            self._log_in(connection)
        elif method != NO_PASSWORD:
            raise OSError("the proxy wants to know who we are in another way")

    def _log_in(self, connection: socket.socket) -> None:
        """Say who we are (RFC 1929)."""
        connection.sendall(b"\1" + _counted(self.username.encode()) + _counted(self.password.encode()))
        if _exactly(connection, 2)[1]:
            raise OSError("the proxy does not take our user name and password")


def is_one(proxy: str) -> bool:
    """Whether the URL of a proxy is one of SOCKS."""
    return proxy.partition("://")[0].lower() in SCHEMES


def read(proxy: str) -> Socks:
    """Return the proxy of a URL, SCHEME://[USER:PASSWORD@]HOST[:PORT]. Raises ValueError."""
    place = proxy.partition("://")[2]
    userinfo, _, place = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    url = urls.parse(f"http://{place}")
    named = place.rstrip("/").endswith(f":{url.port}")
    found = Socks(url.host, url.port if named else PORT, unquote(user), unquote(password))
    if max(len(found.username.encode()), len(found.password.encode())) > 255:
        raise ValueError("a user name or password of more than 255 bytes")
    return found


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        return bytes((NAME,)) + _counted(name)
    return bytes((IPV4 if address.version == 4 else IPV6,)) + address.packed


def _counted(data: bytes) -> bytes:
    if len(data) > 255:
        raise OSError("longer than SOCKS 5 can say")
    return bytes((len(data),)) + data


def _read_reply(connection: socket.socket) -> None:
    """Read what came of CONNECT, with the address that it ends with."""
    version, status, _, kind = _exactly(connection, 4)
    if version != VERSION:
        raise OSError("the proxy does not speak SOCKS 5")
    if status:
        raise OSError(f"the proxy: {REFUSALS.get(status, f'error {status}')}")
    length = {IPV4: 4, IPV6: 16}.get(kind) or _exactly(connection, 1)[0]
    _exactly(connection, length + 2)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise OSError("the proxy has closed the connection")
        data += piece
    return data
