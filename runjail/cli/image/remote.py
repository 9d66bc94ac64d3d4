"""Documents of images where they are: in the store, a registry, a layout or an archive.

Nothing else is fetched.
"""

from __future__ import annotations

from runjail.cli.image import names
from runjail.errors import ImageError, ImageNotFound
from runjail.image.content import open as places
from runjail.image.reference import PLACES
from runjail.scope import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runjail.cli.image.session import ImageSession
    from runjail.image.model import Descriptor
    from runjail.image.reference import Reference
    from runjail.image.transport import Source

    Read = Callable[[Descriptor], bytes]


@scope
def opened(images: ImageSession, reference: Reference) -> Iterator[tuple[str, Descriptor, Read]]:
    """Return an image's name, what it leads to and how to read documents."""
    if reference.kind not in PLACES and images.there():
        with images.content.lease():
            try:
                name, top = images.find(reference)
            except ImageNotFound:
                if reference.kind == "digest":
                    raise
            else:
                yield name, top, images.content.read
                return
    try:
        found, source = names.first(reference, images.registries_conf, lambda each: _source(images, each))
    except ImageError as error:
        error.hint = error.hint or (images.similar(reference) if images.there() else None)
        raise
    try:
        yield found.name, source.top(), source.document
    finally:
        source.close()


def _source(images: ImageSession, reference: Reference) -> Source:
    """Return where an image is, if there is one."""
    source = places.source(reference, images.access)
    try:
        source.top()
    except BaseException:
        source.close()
        raise
    return source
