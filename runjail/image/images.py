"""One image, as it is about to be used: exactly the manifest that runs, with its config."""

from runjail.errors import ImageError, ImageNotFound
from runjail.image import media, model, platform
from runjail.image.model import Descriptor, ImageConfig, Index, Manifest
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runjail.image.model import Platform

    Read = Callable[[Descriptor], bytes]


class Image(Record):
    """What a name leads to. top: the named index or manifest; descriptor: of the manifest of one platform."""

    name: str
    top: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def load(read: "Read", name: str, top: Descriptor, wanted: "Sequence[Platform]") -> Image:
    """Return the image of the first platform of `wanted` that there is. read: returns a document, verified.

    This is the one selection: what is authorised, unpacked and run comes from here. Raises ImageError, Corrupt.
    """
    document = model.parse_manifest(read(top), top.media_type, f"manifest of {name}")
    descriptor = platform.select(document, wanted, read) if isinstance(document, Index) else top
    image = of_manifest(read, name, top, descriptor)
    if not any(platform.fits(image.config.platform, each) for each in wanted):
        asked = " or ".join(platform.describe(each) for each in wanted)
        raise ImageError(f"{name} is an image for {platform.describe(image.config.platform)}, not for {asked}")
    return image


def every(read: "Read", name: str, top: Descriptor) -> list[Image]:
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
        elif entry is top or document.config.media_type in media.CONFIGS:
            found.append(of_manifest(read, name, top, entry))
    return found


def of_manifest(read: "Read", name: str, top: Descriptor, descriptor: Descriptor) -> Image:
    """Return the image of a manifest, documents verified."""
    manifest = model.parse_manifest(read(descriptor), descriptor.media_type, f"manifest of {name}")
    if isinstance(manifest, Index):
        raise ImageError(f"{name}: an index where a manifest should be")
    config = model.parse_config(read(manifest.config), len(manifest.layers), f"config of {name}")
    return Image(name, top, descriptor, manifest, config)
