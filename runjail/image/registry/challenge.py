"""What a server demands in WWW-Authenticate (RFC 9110, 11.6.1; RFC 6750, 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Values without quotes may hold more than RFC 9110 allows: servers forget them around URLs.
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(_TOKEN)


@dataclass(frozen=True)
class Challenge:
    """One scheme, in lower case, with its parameters by their names in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return a parameter, "" when it is absent."""
        return self.parameters.get(name, "")


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all such headers, in their order; what cannot be read is passed over."""
    return [challenge for header in headers for challenge in _parse_one(header)]


def _parse_one(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header):
        if parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            if found:
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1][1].setdefault(name.lower(), value)
            position = parameter.end()
        elif scheme := _SCHEME.match(header, position):
            found.append((scheme[0].lower(), {}))
            position = scheme.end()
        else:
            position += 1
    return [Challenge(scheme, parameters) for scheme, parameters in found]
