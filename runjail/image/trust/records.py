"""Where each manifest of the store came from, and the signatures that came with it.

One small file for each manifest beside the content, named by its digest: signatures are about manifests, and it is a
manifest that runs, whatever name or index led to it. They go with the manifest's blob (ContentStore.garbage_collect).
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import Corrupt, ImageError, UnreadableFile, reason
from runjail.files import read as read_file
from runjail.files import write_file
from runjail.image.content.store import ContentStore
from runjail.image.trust.origin import Origin
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

SIGSTORE = "application/vnd.dev.cosign.simplesigning.v1+json"  # media type of what sigstore signs
GPG = "application/pgp-signature"  # what we call a signed message of simple signing, which has no type of its own
LARGEST = 64 << 20  # bytes of one manifest's file
MOST = 64  # places that one manifest is known to come from: the newest ones


class Signature(Record):
    """What came beside an image, as it came. kind: its media type; payload: what is signed, as base64."""

    kind: str
    payload: str
    annotations: Mapping[str, str] = {}


class Arrival(Record):
    """That a manifest came from a place, and what came with it."""

    origin: Origin
    signatures: tuple[Signature, ...] = ()


class Arrivals:
    """What is written down, in a content store's directory."""

    def __init__(self, content: ContentStore) -> None:
        self.content = content

    def of(self, digest: str) -> list[Arrival]:
        """Return where a manifest came from, the last place first. Raises Corrupt, ImageError."""
        path = self.content.arrivals_path(digest)
        try:
            document = jsonio.loads(read_file(path, LARGEST))
            return [_parsed(each) for each in document["arrivals"]]
        except UnreadableFile as error:
            if error.why == "is missing":
                return []
            raise ImageError(f"cannot read where {digest} came from: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Corrupt(
                f"{path}: does not say where {digest} came from", "runjail image pull writes it anew"
            ) from None

    def note(self, digest: str, arrival: Arrival) -> None:
        """Write down that a manifest, which is there, came from a place; what came from there before is forgotten."""
        path = self.content.arrivals_path(digest)
        with self.content.locked():
            try:
                before = self.of(digest)
            except Corrupt:
                before = []
            others = [each for each in before if each.origin != arrival.origin]
            content = _encoded((arrival, *others)[:MOST])
            try:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                write_file(path, content, 0o600, f"{self.content.directory}/.arrivals.new", synced=True)
            except OSError as error:
                raise ImageError(f"cannot write {path}: {reason(error)}") from error


def _encoded(arrivals: Sequence[Arrival]) -> bytes:
    """Return a file's content: the first arrivals, as many as `of` reads again."""
    while len(content := jsonio.dumps({"arrivals": [_document(each) for each in arrivals]}).encode()) > LARGEST:
        arrivals = arrivals[:-1]
    return content


def _parsed(document: Mapping[str, Any]) -> Arrival:
    origin = Origin(str(document["transport"]), str(document["identity"]))
    return Arrival(origin, tuple(_signature(each) for each in document["signatures"]))


def _signature(document: Mapping[str, Any]) -> Signature:
    annotations = {str(key): str(value) for key, value in document["annotations"].items()}
    return Signature(str(document["mediaType"]), str(document["payload"]), annotations)


def _document(arrival: Arrival) -> dict[str, Any]:
    signatures: Sequence[dict[str, Any]] = [
        {"mediaType": each.kind, "payload": each.payload, "annotations": dict(each.annotations)}
        for each in arrival.signatures
    ]
    return {
        "transport": arrival.origin.transport,
        "identity": arrival.origin.identity,
        "signatures": list(signatures),
    }
