"""import: take in an image from a layout or an archive, or make one of a root file system."""

from __future__ import annotations

import os

from runjail.cli.args import Args, values
from runjail.cli.context import Context
from runjail.cli.image.names import local_name
from runjail.cli.image.options import COMPRESSION, JOBS, POLICY, REPORT, SELECTED, compression
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from runjail.image.content.import_rootfs import make_image
from runjail.image.model import Descriptor
from runjail.image.reference import PLACES, Reference

HELP = "take one from oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG]; make one of rootfs:PATH"
ARGS = ("SRC", "[NAME]")
OPTIONS = (
    *SELECTED,
    JOBS,
    POLICY,
    *REPORT,
    values("cmd", "", "WORD", "with rootfs: the command that the image runs, word by word"),
    values("env", "e", "NAME=VALUE", "with rootfs: the environment of the image"),
    *COMPRESSION,
)


def run(args: Args, context: Context) -> int:
    """Take in an image."""
    images = ImageSession(args, context)
    reference = images.parse(args.positionals[0])
    if reference.kind not in PLACES:
        raise UsageError(f"{reference.name}: not a layout or an archive", "runjail image pull asks registries")
    name = local_name(images.parse(args.positionals[1] if len(args.positionals) > 1 else _own_name(reference)))
    if reference.kind == "rootfs":
        return images.report(name, _make(images, reference.path, name))
    if args.many("cmd") or args.many("env") or args.text("compression"):
        raise UsageError("--cmd, --env and --compression make an image of rootfs:PATH; others have their own")
    return images.report(name, images.fetch(reference, name))


def _make(images: ImageSession, path: str, name: str) -> Descriptor:
    gate = images.gate  # a policy that cannot be read is an error before anything is made
    kind, level = compression(images.args)
    with images.progress() as progress:
        made = make_image(
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
    gate.made(made.digest)
    return made


def _own_name(reference: Reference) -> str:
    """Return a name for an image that comes without one: the tag inside where that is a whole name, or the file's."""
    if "/" in reference.tag or ":" in reference.tag:
        return reference.tag
    base = os.path.basename(os.path.abspath(reference.path)).lower()
    stem = base.split(".")[0] if reference.kind != "oci" else base
    return f"{stem}:{reference.tag or 'latest'}"
