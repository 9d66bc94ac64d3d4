"""Where images come from, and whether all of one has come."""

from runjail.image.content.copy import parts
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.images import Layout, digest_of


def source(layout: Layout, tag: str = "") -> LayoutSource:
    return LayoutSource(str(layout.path), tag)


def everything(content: ContentStore, top: Descriptor) -> set[str]:
    """Return the digests of an image, all of them verified."""
    found = parts(content.read, top)
    for blob in found.blobs:
        with open(content.path(blob.digest), "rb") as file:
            assert digest_of(file.read()) == blob.digest
    return {descriptor.digest for descriptor, _ in found.documents} | {blob.digest for blob in found.blobs}
