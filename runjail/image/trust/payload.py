"""What signatures of images sign: which manifest it is, and what it was called.

Simple signing of containers and sigstore have the same form (containers-signature(5), cosign's SIGNATURE_SPEC.md).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runjail import jsonio
from runjail.errors import ImageError, UnreadableFile
from runjail.files import read as read_file
from runjail.image import digest as digests
from runjail.image.trust import identity
from runjail.image.trust.origin import Origin
from runjail.record import Record

LARGEST_KEY = 1 << 20  # bytes of a public key's file
MOST_SHOWN = 3  # reasons in one error


class Refused(ImageError):
    """A signature does not count, or a requirement cannot be checked. Its text becomes part of a longer one."""


class Payload(Record):
    """What was signed: a manifest's digest, and what it was called."""

    digest: str
    reference: str


def all_of(reasons: Sequence[str]) -> str:
    """Return why none of the signatures counts that were looked at, in one text."""
    more = f"; and {len(reasons) - MOST_SHOWN} more" if len(reasons) > MOST_SHOWN else ""
    return f"{'; '.join(reasons[:MOST_SHOWN])}{more}" if reasons else "there is no signature"


def key_contents(asked: Mapping[str, Any]) -> Iterator[tuple[bytes, str]]:
    """Yield what the keys of a requirement are, each with where it stands. Raises Refused."""
    paths = [*([asked["keyPath"]] if "keyPath" in asked else []), *asked.get("keyPaths", [])]
    for path in paths:
        try:
            yield read_file(path, LARGEST_KEY), path
        except UnreadableFile as error:
            raise Refused(f"its key cannot be read: {error}") from None
    texts = [*([asked["keyData"]] if "keyData" in asked else []), *asked.get("keyDatas", [])]
    for text in texts:
        yield base64.b64decode(text), "keyData"  # policy.parse has seen that it is base64


def decoded(text: str, what: str) -> bytes:
    """Return base64's content. Raises Refused. what: its name in that."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(f"a signature that cannot be read: {what} is no base64") from None


def check(content: bytes, kind: str, digest: str, origin: Origin, signed: Mapping[str, Any]) -> None:
    """Raise Refused unless a payload, which a key has signed, is of this manifest and of a name that it may have.

    signed: the requirement's signedIdentity.
    """
    found = parse(content, kind)
    if found.digest != digest:
        raise Refused(f"a signature of another manifest, {found.digest}")
    if not identity.matches(signed, origin, found.reference):
        raise Refused(f"a signature for the name {found.reference[:300]!r}, which {signed['type']} does not take")


def parse(content: bytes, kind: str) -> Payload:
    """Parse a payload of a kind, which a key has signed. Raises Refused for what could be read in two ways.

    `optional` may hold anything, and be null: cosign writes that.
    """
    try:
        text = content.decode()
        document = jsonio.loads(text)
    except (ValueError, RecursionError):
        raise Refused("a signed payload that is not JSON") from None
    if twice := jsonio.repeated(text):
        raise Refused(f"a signed payload with {twice!r} twice in one object")
    critical = _members(document, ("critical", "optional"), "").get("critical")
    _members(critical, ("type", "image", "identity"), "critical")
    if not isinstance(document["optional"], dict | None):
        raise Refused("a signed payload whose optional is no object")
    if critical["type"] != kind:
        raise Refused(f"a signed payload of type {str(critical['type'])[:80]!r}")
    signed = _members(critical["image"], ("docker-manifest-digest",), "critical.image")["docker-manifest-digest"]
    reference = _members(critical["identity"], ("docker-reference",), "critical.identity")["docker-reference"]
    try:
        digests.parse(signed)
    except ImageError as error:
        raise Refused(f"a signed payload whose docker-manifest-digest is {error}") from None
    if not isinstance(reference, str):
        raise Refused("a signed payload whose docker-reference is no text")
    return Payload(signed, reference)


def _members(value: Any, names: tuple[str, ...], place: str) -> Any:
    """Return an object that has exactly these members. Raises Refused."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"a signed payload whose {place or 'document'} has not exactly {', '.join(names)}")
    return value
