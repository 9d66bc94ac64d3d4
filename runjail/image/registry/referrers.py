"""The list of what refers to a manifest: a tag that clients write where a registry keeps none.

distribution-spec, Pushing Manifests with Subject; Referrers Tag Schema.
"""

from __future__ import annotations

from runjail.errors import Corrupt, ImageError
from runjail.image import digest as digests
from runjail.image import media_types, model
from runjail.image.model import Descriptor, Index, Manifest


def tag(digest: str) -> str:
    """Return the tag of the list of what refers to a manifest."""
    return "-".join(digests.parse(digest))


def subject(content: bytes, what: str) -> str:
    """Return the digest of the manifest that a manifest or index refers to, "" for none. Raises Corrupt without JSON.

    What has no digest there refers to nothing: other tools push such manifests, too.
    """
    if b"subject" not in content.lower():  # most
        return ""
    value = model.get(model.parse_document(content, what), "subject")
    digest = model.get(value, "digest") if isinstance(value, dict) else None
    try:
        digests.parse(digest)
    except ImageError:
        return ""
    return str(digest)


def added(listed: Index, descriptor: Descriptor, document: Index | Manifest) -> Index:
    """Return the list with a manifest that refers to its subject, once: with its annotations and what it is."""
    if any(entry.digest == descriptor.digest for entry in listed.manifests):
        return listed
    kind = model.get(document.data, "artifactType")
    if not kind and isinstance(document, Manifest):
        kind = document.config.media_type
    more = {"artifactType": kind} if kind else {}
    entry = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, document.annotations, data=more)
    return listed.replace(manifests=(*listed.manifests, entry))


def parse(content: bytes, what: str) -> Index:
    """Parse such a list. Raises Corrupt for what is none."""
    found = model.parse_manifest(content, what=what)
    if isinstance(found, Manifest):
        raise Corrupt(f"{what}: not a list")
    return found


EMPTY = Index((), media_types.OCI_INDEX)
