"""Where a repository is read: its mirrors in their order, then the registry itself.

runjail.toml's own mirror comes first, then what containers' registries.conf says (containers-registries.conf(5)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runjail import log
from runjail.errors import ImageError, RegistryError, UsageError
from runjail.image.reference import REGISTRY, Reference, is_host, is_repository, parse
from runjail.image.registry import registries_conf
from runjail.image.registry.registries_conf import Endpoint, Registries, Table


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


@dataclass(frozen=True)
class Reading:
    """Where one repository is read. itself: in the end; named: at the registry of its name, which pushes go to."""

    named: Place
    mirrors: tuple[Place, ...]
    itself: Place


def find(
    reference: Reference, conf: Registries, own: Mapping[str, Mapping[str, Any]], *, insecure: bool = False
) -> Reading:
    """Return where a registry's image is read. own: registries of runjail.toml, by host; they come first.

    insecure: as somebody asks for now, of the registry itself. Raises RegistryError for what is blocked, ImageError.
    """
    name = registries_conf.plain_name(f"{reference.host}/{reference.repository}")
    table = conf.table(name)
    refuse_blocked(conf, name)

    def place(host: str, repository: str, *, by_conf: bool, asked: bool = False) -> Place:
        said = own.get(host, {}).get("insecure")
        return Place(host, repository, asked or bool(by_conf if said is None else said))

    by_conf = bool(table and table.itself.insecure)
    named = place(reference.host, reference.repository, by_conf=by_conf, asked=insecure)
    mirror = own.get(reference.host, {}).get("mirror")
    mirrors = [own_mirror(str(mirror), reference.repository)] if mirror else []
    if table:
        pulls = registries_conf.DIGESTS if table.by_digest_only else ""
        wanted = [each for each in table.mirrors if _is_for(each.pulls or pulls, reference)]
        mirrors += [place(*_at(table, each, name), by_conf=each.insecure) for each in wanted]
    usable = tuple(each for each in mirrors if _may_be_asked(conf, each, reference.host))
    if not table or not table.itself.location:
        return Reading(named, usable, named)
    host, repository = _at(table, table.itself, name)
    refuse_blocked(conf, f"{host}/{repository}")
    return Reading(named, usable, place(host, repository, by_conf=by_conf, asked=insecure))


def _may_be_asked(conf: Registries, mirror: Place, host: str) -> bool:
    """Whether a host's mirror is not blocked; a word is said of one that is."""
    try:
        refuse_blocked(conf, f"{mirror.host}/{mirror.repository}")
    except RegistryError as error:
        log.warning(f"mirror of {host} passed over: {error}")
        return False
    return True


def refuse_blocked(conf: Registries, name: str) -> None:
    """Raise RegistryError for a name, HOST/REPOSITORY, that may not be asked for."""
    table = conf.table(registries_conf.plain_name(name))
    if table and table.blocked:
        raise RegistryError(f"{name}: blocked by {table.place}, prefix {table.prefix}")


def _is_for(pulls: str, reference: Reference) -> bool:
    return not (pulls == registries_conf.TAGS if reference.digest else pulls == registries_conf.DIGESTS)


def _at(table: Table, endpoint: Endpoint, name: str) -> tuple[str, str]:
    """Return host and repository of a name at one of its places."""
    text = table.rewritten(endpoint, name)
    try:
        found = parse(f"{REGISTRY}{text}")
    except UsageError:
        found = None
    if not found or found.repository != text.partition("/")[2]:  # e.g. docker.io without its `library`
        raise ImageError(f"{table.place}: makes {text[:200]!r} of {name}, which is no repository")
    return found.host, found.repository
