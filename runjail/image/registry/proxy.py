"""Which proxy the environment names for a URL.

The variables are HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from runjail.image.registry import urls

_WORD = re.compile(r"(?:\[([^]]*)\]|([^:\[]*))(?::([0-9]+))?")  # of NO_PROXY: [ADDRESS]:PORT or NAME:PORT


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """Return the proxy's URL that the environment names for a URL, "" for none. Loopback is always reached directly."""
    parts = urls.parse(url)
    host = parts.host
    names = (f"{parts.scheme}_proxy", "all_proxy")
    proxy = next((environ[key] for name in names for key in (name, name.upper()) if environ.get(key)), "")
    if not proxy or is_loopback(host) or _bypassed(host, parts.port, environ):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY lists a host: `*`, names with all below them and perhaps a port, addresses, networks."""
    for word in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(",", " ").split():
        if word == "*" or _is_in(host, word):
            return True
        found = _WORD.fullmatch(word.lower())
        if not found or found[3] not in (None, str(port)):
            continue
        name = (found[2] or "").removeprefix("*").removeprefix(".")
        if (name and (host == name or host.endswith(f".{name}"))) or _is_in(host, found[1] or ""):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine: localhost, 127.0.0.0/8, ::1."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
