"""pull, push, import, export: images between registries, layouts, archives and the store."""

import os

from runjail import jsonio
from runjail.cli.image.session import Half
from runjail.cli.main import Context, put
from runjail.cli.reports import choice
from runjail.errors import UsageError
from runjail.image import reference as references
from runjail.image.content import copy
from runjail.image.content import open as places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.cli.args import Given
    from runjail.image.model import Descriptor
    from runjail.image.reference import Reference


def pull(given: "Given", context: Context) -> int:
    """Fetch an image from a registry."""
    half = Half(given, context)
    reference = references.parse(given.words[0])
    if reference.kind != "registry":
        raise UsageError(f"{reference.name}: not a registry's image", "runjail image import takes layouts and archives")
    name = half.local_name(given.words[1]) if len(given.words) > 1 else reference.name
    return say(given, name, half.fetch(reference, name))


def import_(given: "Given", context: Context) -> int:
    """Take in an image from a layout or an archive, or make one of a root file system."""
    half = Half(given, context)
    reference = references.parse(given.words[0])
    if reference.kind not in references.PLACES:
        raise UsageError(f"{reference.name}: not a layout or an archive", "runjail image pull asks registries")
    name = half.local_name(given.words[1] if len(given.words) > 1 else _own_name(reference))
    if reference.kind == "rootfs":
        return say(given, name, _make(half, reference.path, name))
    if given.many("cmd") or given.many("env") or given.text("compression"):
        raise UsageError("--cmd, --env and --compression make an image of rootfs:PATH; others have their own")
    return say(given, name, half.fetch(reference, name))


def _make(half: Half, path: str, name: str) -> "Descriptor":
    from runjail.image.content.import_rootfs import make_image

    kind, level = half.compression()
    with half.progress() as progress:
        return make_image(
            path,
            half.content,
            name,
            platform=half.platforms()[0],
            cmd=half.given.many("cmd"),
            env=half.given.many("env"),
            compression=kind or "gzip",
            level=level,
            progress=progress,
        )


def _own_name(reference: "Reference") -> str:
    """Return a name for an image that comes without one: the tag inside where that is a whole name, or the file's."""
    if "/" in reference.tag or ":" in reference.tag:
        return reference.tag
    base = os.path.basename(os.path.abspath(reference.path)).lower()
    stem = base.split(".")[0] if reference.kind != "oci" else base
    return f"{stem}:{reference.tag or 'latest'}"


def push(given: "Given", context: Context) -> int:
    """Store an image in a registry."""
    half = Half(given, context)
    target = references.parse(given.words[-1])
    if target.kind != "registry":
        raise UsageError(f"{target.name}: not in a registry", "runjail image export writes layouts and archives")
    return _send(half, given.words[0], target)


def export(given: "Given", context: Context) -> int:
    """Write an image to a layout or an archive."""
    half = Half(given, context)
    target = references.parse(given.words[1])
    if target.kind not in references.PLACES:
        raise UsageError(f"{target.name}: not a layout or an archive", "runjail image push sends to registries")
    return _send(half, given.words[0], target)


def _send(half: Half, source: str, target: "Reference") -> int:
    with half.passing() as digests:
        name, top = half.borrow(source, digests)
        sent = send(half, name, top, target, digests)
    return say(half.given, target.name, sent)


def send(half: Half, name: str, top: "Descriptor", target: "Reference", added: set[str]) -> "Descriptor":
    """Copy an image out of the store. Returns what the target's name leads to. added: gets digests of new blobs."""
    kind, level = half.compression()
    origin = references.parse(name)
    same = origin.kind == "registry" and origin.host == target.host
    mount_from = [origin.repository] if same and origin.repository != target.repository else []
    sink = places.sink(target, half.access, mount_from)
    selection = half.platforms() if half.given.many("platform") else None
    with half.progress() as progress:
        return copy.copy_out(
            half.content,
            top,
            sink,
            platforms=selection,
            compression=kind,
            level=level,
            jobs=half.jobs(),
            progress=progress,
            added=added,
        )


def say(given: "Given", name: str, top: "Descriptor") -> int:
    """Print what came or went: the name and its digest."""
    if choice(given, "table", "json") == "json":
        return put(jsonio.dumps({"name": name, "digest": top.digest, "mediaType": top.media_type}) + "\n")
    return put(f"{name if given.flag('quiet') else f'{name}@{top.digest}'}\n")
