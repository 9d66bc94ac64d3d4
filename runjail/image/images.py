"""One image, as it is about to be used: exactly the manifest that runs, with its config."""

from runjail.errors import ImageError
from runjail.image import media, model, platform
from runjail.image.model import Descriptor, ImageConfig, Index, Manifest
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.image.content import Content
    from runjail.image.model import Platform


class Image(Record):
    """What a name leads to. top: the named index or manifest; descriptor: of the manifest of one platform."""

    name: str
    top: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def load(blobs: "Content", name: str, top: Descriptor, wanted: "Sequence[Platform]") -> Image:
    """Return the image of the first platform of `wanted` that there is, documents verified.

    This is the one selection: what is authorised, unpacked and run comes from here. Raises ImageError, Corrupt.
    """
    document = model.parse_manifest(blobs.read(top), top.media_type, f"manifest of {name}")
    descriptor = platform.select(document, wanted, blobs.read) if isinstance(document, Index) else top
    image = read(blobs, name, top, descriptor)
    if not any(platform.fits(image.config.platform, each) for each in wanted):
        asked = " or ".join(platform.describe(each) for each in wanted)
        raise ImageError(f"{name} is an image for {platform.describe(image.config.platform)}, not for {asked}")
    return image


def every(blobs: "Content", name: str, top: Descriptor) -> list[Image]:
    """Return the images of all platforms that are here, documents verified."""
    document = model.parse_manifest(blobs.read(top), top.media_type, f"manifest of {name}")
    if isinstance(document, Manifest):
        return [read(blobs, name, top, top)]
    here = [entry for entry in document.manifests if blobs.has(entry.digest)]
    found = [every(blobs, name, entry) for entry in here if entry.media_type in media.INDEXES + media.MANIFESTS]
    return [image.replace(top=top) for images in found for image in images]


def read(blobs: "Content", name: str, top: Descriptor, descriptor: Descriptor) -> Image:
    """Return the image of a manifest, documents verified."""
    manifest = model.parse_manifest(blobs.read(descriptor), descriptor.media_type, f"manifest of {name}")
    if isinstance(manifest, Index):
        raise ImageError(f"{name}: an index where a manifest should be")
    config = model.parse_config(blobs.read(manifest.config), len(manifest.layers), f"config of {name}")
    return Image(name, top, descriptor, manifest, config)
