"""One image, as it is about to be used: exactly the manifest that runs, with its config."""

from __future__ import annotations

from runjail.errors import Corrupt, ImageError, ImageNotFound, UsageError
from runjail.image import media_types, model, platform
from runjail.image.model import Descriptor, ImageConfig, Index, Manifest, Platform
from runjail.image.reference import Reference, is_digits
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    Read = Callable[[Descriptor], bytes]

    class Named(Protocol):
        """What words are looked up in: an OCI layout."""

        def names(self) -> dict[str, Descriptor]:
            """Return what has a name."""

        def read(self, descriptor: Descriptor, /) -> bytes:
            """Return a document, verified."""


class Image(Record):
    """What a name leads to. top: the named index or manifest; descriptor: of the manifest of one platform."""

    name: str
    top: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def find(content: Named, reference: Reference) -> tuple[str, Descriptor]:
    """Return the name in the store that is meant, and what it leads to. Raises ImageNotFound, UsageError.

    The word is a name, or the digest of an index, manifest or config, or the first 12 digits of one or more. A name
    with a digest means what has this digest, whatever its tag. A name comes before a digest that begins like it.
    """
    names = content.names()
    for name in (reference.name, reference.word):
        if name in names:
            return name, names[name]
    if reference.digest and reference.kind == "registry":
        same = (f"{reference.host}/{reference.repository}:", f"{reference.host}/{reference.repository}@")
        for name, top in names.items():
            if name.startswith(same) and top.digest == reference.digest:
                return name, top
    if reference.kind == "digest" or is_digits(reference.word):
        return _by_digest(content, names, reference.word)
    raise ImageNotFound(reference.name)


def is_digest(reference: Reference, name: str) -> bool:
    """Whether `find` gave this name for a digest, and not because the word is the name."""
    return reference.kind == "digest" or (is_digits(reference.word) and name != reference.name)


def _by_digest(content: Named, names: dict[str, Descriptor], text: str) -> tuple[str, Descriptor]:
    found: dict[str, tuple[str, Descriptor]] = {}
    for name, top in names.items():
        for image in readable(content, name, top):
            for digest, what in (
                (top.digest, top),
                (image.descriptor.digest, image.descriptor),
                (image.manifest.config.digest, image.descriptor),
            ):
                if digest.startswith(text) or digest.partition(":")[2].startswith(text):
                    found.setdefault(what.digest, (name, what))
    if len(found) > 1:
        raise UsageError(f"{text}: more than one image begins so: {', '.join(sorted(found)[:5])}")
    if not found:
        raise ImageNotFound(text)
    return next(iter(found.values()))


def readable(content: Named, name: str, top: Descriptor) -> list[Image]:
    """Return the images of a name, none of one that cannot be read: others can be meant."""
    try:
        return every(content.read, name, top)
    except ImageError:
        return []


def load(read: Read, name: str, top: Descriptor, wanted: Sequence[Platform]) -> Image:
    """Return the image of the first platform of `wanted` that there is. read: returns a document, verified.

    This is the one selection: what is authorised, unpacked and run comes from here. Raises ImageError, Corrupt.
    """
    document = model.parse_manifest(read(top), top.media_type, f"manifest of {name}")
    if isinstance(document, Index):
        descriptor = platform.select(document, wanted, read)
        image = _image(read, name, top, descriptor, _manifest(read, name, descriptor))
    else:
        image = _image(read, name, top, top, document)
    if not any(platform.fits(image.config.platform, each) for each in wanted):
        asked = " or ".join(platform.describe(each) for each in wanted)
        raise ImageError(f"{name} is an image for {platform.describe(image.config.platform)}, not for {asked}")
    return image


def every(read: Read, name: str, top: Descriptor) -> list[Image]:
    """Return the images of all platforms that are here, without what an index holds beside images.

    read: returns a document, verified, or raises ImageNotFound; of the inner ones, not all have to be there.
    Raises ImageError, Corrupt.
    """
    found: list[Image] = []
    seen: set[str] = set()
    pending = [top]
    while pending:
        entry = pending.pop(0)
        if entry.digest in seen:
            continue
        seen.add(entry.digest)
        try:
            content = read(entry)
        except ImageNotFound:
            if entry is top:
                raise
            continue
        document = model.parse_manifest(content, entry.media_type, f"manifest of {name}")
        if isinstance(document, Index):
            pending = [*filter(platform.may_be_image, document.manifests), *pending]
        elif entry is top or document.config.media_type in media_types.CONFIGS:
            found.append(_image(read, name, top, entry, document))
    return found


def _manifest(read: Read, name: str, descriptor: Descriptor) -> Manifest:
    found = model.parse_manifest(read(descriptor), descriptor.media_type, f"manifest of {name}")
    if isinstance(found, Index):
        raise ImageError(f"{name}: an index where a manifest should be")
    return found


def _image(read: Read, name: str, top: Descriptor, descriptor: Descriptor, manifest: Manifest) -> Image:
    """Return the image of a manifest with its config, which is verified."""
    try:
        config = model.parse_config(read(manifest.config), len(manifest.layers), f"config of {name}")
    except Corrupt:
        if manifest.config.media_type in media_types.CONFIGS:
            raise
        kind = model.get(manifest.data, "artifactType") or manifest.config.media_type
        raise ImageError(f"{name} is no image but an artifact: {str(kind)[:100] or 'of no type'}") from None
    return Image(name, top, descriptor, manifest, config)
