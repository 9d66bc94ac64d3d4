"""Where a repository is read: its mirrors in their order, then the registry itself.

runjail.toml's own mirror comes first, then what containers' registries.conf says (containers-registries.conf(5)).
"""

from __future__ import annotations

from dataclasses import dataclass

from runjail.errors import ImageError
from runjail.image.reference import is_host, is_repository


@dataclass(frozen=True)
class Place:
    """One repository at one server. host: HOST[:PORT], or docker.io; repository: what it is called there.

    insecure: certificates are not verified, and plain http will do.
    """

    host: str
    repository: str
    insecure: bool = False


def own_mirror(text: str, repository: str) -> Place:
    """Return where a mirror of runjail.toml, [http://]HOST[:PORT][/PREFIX], has a repository; insecure with http://.

    Raises ImageError when it is none.
    """
    scheme, _, place = text.rpartition("://")
    host, _, prefix = place.strip("/").partition("/")
    known = scheme in ("", "http", "https") and is_host(host)
    if not known or (prefix and not is_repository(prefix)):
        raise ImageError(f"not a registry's mirror: {text[:200]!r}")
    return Place(host, f"{prefix}/{repository}" if prefix else repository, scheme == "http")
