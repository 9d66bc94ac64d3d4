r"""URLs: the one parser of what registries name.

Its result is also what the client connects to and sends. Two parsers that read one URL differently send secrets to a
host that nobody checked (`http://A\@B/` is A to browsers and B to RFC 3986). So an authority that anybody could read in
two ways is refused, and the rest is sent byte for byte, because signatures cover it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

PORTS = {"https": 443, "http": 80}
LONGEST = 64 << 10  # characters of a URL
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_AUTHORITY = re.compile(rf"({_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # a last label that resolvers take for an IPv4 address


@dataclass(frozen=True)
class Url:
    """One URL. scheme: https or http; host: in lower case, an IPv6 address without brackets; port: always a number.

    target: path and query as they were named, with nothing but visible ASCII characters.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def name(self) -> str:
        """The host as URLs have it: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """HOST, or HOST:PORT where the port is not the scheme's."""
        return self.name if self.port == PORTS[self.scheme] else f"{self.name}:{self.port}"

    @property
    def origin(self) -> str:
        """What secrets are bound to: scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def bare(self) -> str:
        """The URL without its query, which may be a key to the content."""
        return self.origin + self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target

    def join(self, reference: str) -> Url:
        """Return what a reference in an answer from here names (RFC 3986, 5.2). Raises ValueError."""
        reference = reference.strip(" \t")
        if not reference:
            raise ValueError("empty")
        if _SCHEME.match(reference):
            return parse(reference)
        if reference.startswith("//"):
            return parse(f"{self.scheme}:{reference}")
        path, _, query = self.target.partition("?")
        found, mark, asked = reference.partition("#")[0].partition("?")
        if not found:
            return replace(self, target=_sendable(path + (f"?{asked}" if mark else f"?{query}" if query else "")))
        if not found.startswith("/"):
            found = path.rpartition("/")[0] + f"/{found}"
        return replace(self, target=_sendable(_without_dots(found) + mark + asked))

    def with_query(self, more: str) -> Url:
        """Return the URL with more parameters, which are encoded already."""
        return replace(self, target=self.target + ("&" if "?" in self.target else "?") + more)


def parse(text: str) -> Url:
    """Return an absolute URL of https or http. Raises ValueError with what is wrong with it."""
    whole = _URL.match(text) if len(text) <= LONGEST else None
    if not whole or whole[1].lower() not in PORTS:
        raise ValueError("not a URL of https or http")
    authority = _AUTHORITY.fullmatch(whole[2])
    if not authority:
        raise ValueError("its host and port are not written plainly")
    scheme, port = whole[1].lower(), authority[2]
    if port and not 0 < int(port) < 1 << 16:
        raise ValueError(f"there is no port {port}")
    target = whole[3] if whole[3].startswith("/") else f"/{whole[3]}"
    return Url(scheme, _host(authority[1].lower()), int(port) if port else PORTS[scheme], _sendable(target))


def _host(host: str) -> str:
    """Return a host's one spelling. Raises ValueError for addresses that resolvers read and other parsers do not."""
    if host.startswith("["):
        return str(ipaddress.IPv6Address(host[1:-1]))
    if len(host) > 254:
        raise ValueError("its host's name is too long")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return str(ipaddress.IPv4Address(host))
    return host


def _sendable(target: str) -> str:
    """Return a target with spaces and characters outside of ASCII encoded. Raises ValueError for control characters."""
    if any(letter < " " or letter == "\x7f" for letter in target):
        raise ValueError("a control character in it")
    if target.isascii() and " " not in target:
        return target
    octets = target.encode("latin-1", "ignore") if max(target) <= "\xff" else target.encode("utf-8", "replace")
    return "".join(chr(octet) if 0x20 < octet < 0x7F else f"%{octet:02X}" for octet in octets)


def _without_dots(path: str) -> str:
    """Return a path without its `.` and `..` (RFC 3986, 5.2.4)."""
    found: list[str] = []
    *inner, last = path.split("/")[1:]
    for segment in inner:
        if segment == "..":
            found = found[:-1]
        elif segment != ".":
            found.append(segment)
    if last in (".", ".."):
        found, last = found[:-1] if last == ".." else found, ""
    return "/" + "/".join([*found, last])
