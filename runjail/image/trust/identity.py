"""signedIdentity of policy.json: which name has to be signed (containers-policy.json(5))."""

from __future__ import annotations

from runjail.errors import UsageError
from runjail.image import reference as references
from runjail.image.trust.origin import DOCKER, Origin, repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

SIGNED_IDENTITY = "signedIdentity"
DEFAULT = {"type": "matchRepoDigestOrExact"}
MEMBERS = {
    "matchExact": (),
    "matchRepoDigestOrExact": (),
    "matchRepository": (),
    "exactReference": ("dockerReference",),
    "exactRepository": ("dockerRepository",),
    "remapIdentity": ("prefix", "signedPrefix"),
}


def identity_problems(identity: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield what is wrong with a signedIdentity."""
    kind = identity.get("type")
    if not isinstance(kind, str) or kind not in MEMBERS:
        yield f"{place}.type: must be one of {', '.join(MEMBERS)}"
        return
    for name in identity:
        if name not in ("type", *MEMBERS[kind]):
            yield f"{place}.{name}: is not known"
    for name in MEMBERS[kind]:
        value = identity.get(name)
        if not isinstance(value, str) or not value:
            yield f"{place}.{name}: must be a text"
        elif name == "dockerReference" and not _is_exact(canonical(value)):
            yield f"{place}.{name}: must be an image's name with a tag or a digest, not {value[:100]!r}"
        elif name != "dockerReference" and not _is_repository(value, prefix=name != "dockerRepository"):
            yield f"{place}.{name}: must be a repository's name, not {value[:100]!r}"


def matches(identity: Mapping[str, Any], origin: Origin, signed: str) -> bool:
    """Whether a name that was signed is the one that an image from there has to have been signed with."""
    signed, wanted = canonical(signed), origin.identity if origin.transport == DOCKER else ""
    kind = identity["type"]
    if kind == "exactReference":
        return _is_exact(signed) and signed == canonical(identity["dockerReference"])
    if kind == "exactRepository":
        return bool(signed) and repository(signed) == repository(canonical(identity["dockerRepository"]))
    if not signed or not wanted:
        return False
    if kind == "matchRepository":
        return repository(signed) == repository(wanted)
    if kind == "matchExact":
        return _is_exact(signed) and signed == wanted
    if kind == "remapIdentity":
        wanted = _remapped(wanted, identity["prefix"], identity["signedPrefix"])
    return _is_exact(signed) and (repository(signed) == repository(wanted) if "@" in wanted else signed == wanted)


def _remapped(name: str, prefix: str, signed: str) -> str:
    held = repository(name)
    inside = held == prefix or held.startswith(f"{prefix}/")
    return signed + name[len(prefix) :] if inside else name


def canonical(name: str) -> str:
    """Return an image's name in full, as it is: no tag is added. "" for what is none."""
    try:
        found = references.parse(f"{references.REGISTRY}{name}")
    except UsageError:
        return ""
    return found.name if _is_exact(name) else f"{found.host}/{found.repository}"


def _is_exact(name: str) -> bool:
    return repository(name) != name


def _is_repository(name: str, *, prefix: bool) -> bool:
    """Whether this is a repository's name, or as a prefix a host with or without the beginning of one."""
    if prefix:
        host, _slash, rest = name.partition("/")
        return references.is_host(host) and (references.is_repository(rest) if "/" in name else True)
    return bool(canonical(name))  # a tag does not matter, as with skopeo
