"""policy.json of containers: who asks what of which images (containers-policy.json(5)).

It is read as strictly as podman and skopeo read it: a member that is unknown, missing, given twice or of the wrong kind
makes all of it invalid, and then no image is taken. What is known and cannot be met here refuses the images that it is
asked of, and no others.
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import ImageError, InvalidConfig, reason
from runjail.files import read as read_file
from runjail.image.trust.identity import SIGNED_IDENTITY, identity_problems
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from runjail.image.trust.origin import Origin

LARGEST = 1 << 20  # bytes of policy.json
OWN = ".config/containers/policy.json"  # below $HOME
ACCEPT, REJECT = "insecureAcceptAnything", "reject"
SIGSTORE, GPG, BASE_LAYER = "sigstoreSigned", "signedBy", "signedBaseLayer"
TRANSPORTS = (
    *("docker", "oci", "oci-archive", "docker-archive", "docker-daemon", "dir", "atomic", "containers-storage"),
    *("sif", "tarball", "ostree"),
)
PATHS, WITHOUT_SCOPES = ("oci", "oci-archive", "dir"), ("docker-archive", "tarball")
# The members that each kind of requirement may have besides its type
MEMBERS: Mapping[str, tuple[str, ...]] = {
    ACCEPT: (),
    REJECT: (),
    GPG: ("keyType", "keyPath", "keyPaths", "keyData", SIGNED_IDENTITY),
    BASE_LAYER: ("baseLayerIdentity",),
    SIGSTORE: (
        *("keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", SIGNED_IDENTITY),
        *("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"),
    ),
}
KEYS = {
    GPG: ("keyPath", "keyPaths", "keyData"),
    SIGSTORE: ("keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki"),
}
KEY_TYPES = ("GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
LISTS = ("keyPaths", "keyDatas", "rekorPublicKeyPaths", "rekorPublicKeyDatas")
IDENTITIES = (SIGNED_IDENTITY, "baseLayerIdentity")
OBJECTS = ("fulcio", "pki", *IDENTITIES)


class Requirement(Record):
    """What an image has to meet. kind: its type; place: its JSON path; data: the object."""

    kind: str
    place: str
    data: Mapping[str, Any]


class Policy(Record):
    """Requirements by where an image comes from. path: of the file; transports: by name, then by scope."""

    path: str
    default: tuple[Requirement, ...]
    transports: Mapping[str, Mapping[str, tuple[Requirement, ...]]]

    @property
    def accepts_all(self) -> bool:
        """Whether every image is taken, wherever it comes from."""
        scopes = [asked for transport in self.transports.values() for asked in transport.values()]
        return all(each.kind == ACCEPT for asked in (self.default, *scopes) for each in asked)

    def wanted(self, origin: Origin) -> set[str]:
        """Return the kinds of requirements for which what comes beside an image from there has to be fetched."""
        return {each.kind for each in self.requirements(origin)} & {SIGSTORE, GPG}

    def requirements(self, origin: Origin) -> tuple[Requirement, ...]:
        """Return what an image that comes from there has to meet: all of it. The narrowest scope counts, alone."""
        scopes = self.transports.get(origin.transport, {})
        return next((scopes[scope] for scope in (*origin.scopes(), "") if scope in scopes), self.default)


def find(named: str, home: str, system: tuple[str, ...]) -> str:
    """Return the path of policy.json, "" where there is none. named: by the caller; system: where systems have it.

    A user's own comes before the system's, as with podman, also where it cannot be read: that is an error later.
    Raises ImageError where it cannot be seen whether there is one.
    """
    if named:
        return named
    places = (*([f"{home}/{OWN}"] if home else []), *system)
    return next((path for path in places if _is_there(path)), "")


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ImageError(f"cannot look for {path}, which may say what images are taken: {reason(error)}") from error
    return True


def load(named: str, home: str, system: tuple[str, ...]) -> Policy | None:
    """Return the policy that `find` finds, None without one. Raises ImageError, UnreadableFile, InvalidConfig."""
    path = find(named, home, system)
    return read(path) if path else None


def read(path: str) -> Policy:
    """Read policy.json. Raises UnreadableFile, InvalidConfig."""
    return parse(read_file(path, LARGEST), path)


def parse(content: bytes, path: str) -> Policy:
    """Parse policy.json. Raises InvalidConfig that names all problems."""
    try:
        text = content.decode()
        document = jsonio.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig([f"not JSON: {error}"], path) from None
    twice = jsonio.repeated(text)
    found = [f"{twice}: is there twice in one object"] if twice else list(_problems(document))
    if found:
        raise InvalidConfig(found, path)
    transports = {
        name: {scope: _requirements(asked, f'transports.{name}["{scope}"]') for scope, asked in scopes.items()}
        for name, scopes in document.get("transports", {}).items()
    }
    return Policy(path, _requirements(document["default"], "default"), transports)


def _requirements(asked: list[dict[str, Any]], place: str) -> tuple[Requirement, ...]:
    return tuple(Requirement(each["type"], f"{place}[{number}]", each) for number, each in enumerate(asked))


# Problems, each with its place -----------------------------------------------------------------------------------


def _problems(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "must be an object"
        return
    yield from (f"{name}: is not known" for name in document if name not in ("default", "transports"))
    if "default" in document:
        yield from _list_problems(document["default"], "default")
    else:
        yield "default: is required"
    transports = document.get("transports", {})
    if not isinstance(transports, dict):
        yield "transports: must be an object"
        return
    for name, scopes in transports.items():
        if name not in TRANSPORTS:
            yield f"transports.{name}: is not known"
        elif not isinstance(scopes, dict):
            yield f"transports.{name}: must be an object"
        else:
            for scope, asked in scopes.items():
                yield from _scope_problems(name, scope)
                yield from _list_problems(asked, f'transports.{name}["{scope}"]')


def _scope_problems(transport: str, scope: str) -> Iterator[str]:
    place = f'transports.{transport}["{scope}"]'
    if transport in WITHOUT_SCOPES and scope:
        yield f"{place}: has no scopes but the one of all, an empty text"
    elif transport in PATHS and scope and (scope == "/" or scope != os.path.normpath(scope) or scope[0] != "/"):
        yield f"{place}: must be an absolute path without . and .., or an empty text for all"


def _list_problems(asked: Any, place: str) -> Iterator[str]:
    if not isinstance(asked, list) or not asked:
        yield f"{place}: must be a list of one requirement or more"
        return
    for number, each in enumerate(asked):
        yield from _requirement_problems(each, f"{place}[{number}]")


def _requirement_problems(asked: Any, place: str) -> Iterator[str]:
    if not isinstance(asked, dict):
        yield f"{place}: must be an object"
        return
    kind = asked.get("type")
    if not isinstance(kind, str) or kind not in MEMBERS:
        yield f"{place}.type: must be one of {', '.join(MEMBERS)}"
        return
    for name, value in asked.items():
        if name != "type":
            yield from _member_problems(kind, name, value, f"{place}.{name}")
    if kind in KEYS and sum(name in asked for name in KEYS[kind]) != 1:
        yield f"{place}: must have exactly one of {', '.join(KEYS[kind])}"
    if kind == GPG and asked.get("keyType") not in KEY_TYPES:
        yield f"{place}.keyType: must be one of {', '.join(KEY_TYPES)}"
    if kind == BASE_LAYER and "baseLayerIdentity" not in asked:
        yield f"{place}.baseLayerIdentity: is required"


def _member_problems(kind: str, name: str, value: Any, place: str) -> Iterator[str]:
    if name not in MEMBERS[kind]:
        yield f"{place}: is not known"
    elif name in LISTS:
        if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
            yield f"{place}: must be a list of one text or more"
    elif name in OBJECTS:
        if not isinstance(value, dict):
            yield f"{place}: must be an object"
        elif name in IDENTITIES:
            yield from identity_problems(value, place)
    elif not isinstance(value, str) or not value:
        yield f"{place}: must be a text"
    if "Data" in name and not all(map(_is_base64, value if isinstance(value, list) else [value])):
        yield f"{place}: must be base64"


def _is_base64(text: object) -> bool:
    import base64  # only who writes keys into the policy pays for it

    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False
