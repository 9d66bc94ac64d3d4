"""A blob that takes more than one read, and what is in a content store."""

from pathlib import Path

from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.images import digest_of

DATA = bytes(range(256)) * 4096  # a mebibyte


BLOB = Descriptor("", digest_of(DATA), len(DATA))


HALF = Descriptor("", digest_of(DATA[: 1 << 18]), 1 << 18)  # of what the smallest disk here holds


def files(content: ContentStore) -> set[str]:
    """Return all that is in the directory, but what every layout has."""
    top = Path(content.directory)
    found = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    return found - {"oci-layout", "index.json"}


def blob_file(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
