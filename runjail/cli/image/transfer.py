"""pull, push, import, export: images between registries, layouts, archives and the store."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.cli.image.session import ImageSession
from runjail.cli.main import Context, write_stdout
from runjail.cli.reports import choice
from runjail.errors import UsageError
from runjail.image import reference as references
from runjail.image.content import copy
from runjail.image.content import open as places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.cli.args import Args
    from runjail.image.model import Descriptor
    from runjail.image.reference import Reference


def pull(args: Args, context: Context) -> int:
    """Fetch an image from a registry."""
    images = ImageSession(args, context)
    reference = references.parse(args.words[0])
    if reference.kind != "registry":
        raise UsageError(f"{reference.name}: not a registry's image", "runjail image import takes layouts and archives")
    name = images.local_name(args.words[1]) if len(args.words) > 1 else reference.name
    return say(args, name, images.fetch(reference, name))


def import_(args: Args, context: Context) -> int:
    """Take in an image from a layout or an archive, or make one of a root file system."""
    images = ImageSession(args, context)
    reference = references.parse(args.words[0])
    if reference.kind not in references.PLACES:
        raise UsageError(f"{reference.name}: not a layout or an archive", "runjail image pull asks registries")
    name = images.local_name(args.words[1] if len(args.words) > 1 else _own_name(reference))
    if reference.kind == "rootfs":
        return say(args, name, _make(images, reference.path, name))
    if args.many("cmd") or args.many("env") or args.text("compression"):
        raise UsageError("--cmd, --env and --compression make an image of rootfs:PATH; others have their own")
    return say(args, name, images.fetch(reference, name))


def _make(images: ImageSession, path: str, name: str) -> Descriptor:
    from runjail.image.content.import_rootfs import make_image

    kind, level = images.compression()
    with images.progress() as progress:
        return make_image(
            path,
            images.content,
            name,
            platform=images.platforms()[0],
            cmd=images.args.many("cmd"),
            env=images.args.many("env"),
            compression=kind or "gzip",
            level=level,
            progress=progress,
        )


def _own_name(reference: Reference) -> str:
    """Return a name for an image that comes without one: the tag inside where that is a whole name, or the file's."""
    if "/" in reference.tag or ":" in reference.tag:
        return reference.tag
    base = os.path.basename(os.path.abspath(reference.path)).lower()
    stem = base.split(".")[0] if reference.kind != "oci" else base
    return f"{stem}:{reference.tag or 'latest'}"


def push(args: Args, context: Context) -> int:
    """Store an image in a registry."""
    images = ImageSession(args, context)
    target = references.parse(args.words[-1])
    if target.kind != "registry":
        raise UsageError(f"{target.name}: not in a registry", "runjail image export writes layouts and archives")
    return _send(images, args.words[0], target)


def export(args: Args, context: Context) -> int:
    """Write an image to a layout or an archive."""
    images = ImageSession(args, context)
    target = references.parse(args.words[1])
    if target.kind not in references.PLACES:
        raise UsageError(f"{target.name}: not a layout or an archive", "runjail image push sends to registries")
    return _send(images, args.words[0], target)


def _send(images: ImageSession, source: str, target: Reference) -> int:
    with images.transient_blobs() as digests:
        name, top = images.fetch_transient(source, digests)
        sent = send(images, name, top, target, digests)
    return say(images.args, target.name, sent)


def send(images: ImageSession, name: str, top: Descriptor, target: Reference, added: set[str]) -> Descriptor:
    """Copy an image out of the store. Returns what the target's name leads to. added: gets digests of new blobs."""
    kind, level = images.compression()
    origin = references.parse(name)
    same = origin.kind == "registry" and origin.host == target.host
    mount_from = [origin.repository] if same and origin.repository != target.repository else []
    sink = places.sink(target, images.access, mount_from)
    selection = images.platforms() if images.args.many("platform") else None
    with images.progress() as progress:
        return copy.copy_out(
            images.content,
            top,
            sink,
            platforms=selection,
            compression=kind,
            level=level,
            jobs=images.jobs(),
            progress=progress,
            added=added,
        )


def say(args: Args, name: str, top: Descriptor) -> int:
    """Print what came or went: the name and its digest."""
    if choice(args, "table", "json") == "json":
        return write_stdout(jsonio.dumps({"name": name, "digest": top.digest, "mediaType": top.media_type}) + "\n")
    return write_stdout(f"{name if args.flag('quiet') else f'{name}@{top.digest}'}\n")
