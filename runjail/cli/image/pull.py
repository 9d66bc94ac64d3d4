"""pull: fetch an image from a registry."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.options import REMOTE, REPORT, SELECTED
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from runjail.image.reference import parse

HELP = "fetch an image from a registry"
ARGS = ("REF", "[NAME]")
OPTIONS = (*SELECTED, *REMOTE, *REPORT)


def run(args: Args, context: Context) -> int:
    """Fetch an image."""
    images = ImageSession(args, context)
    reference = parse(args.positionals[0])
    if reference.kind != "registry":
        raise UsageError(f"{reference.name}: not a registry's image", "runjail image import takes layouts and archives")
    name = images.local_name(parse(args.positionals[1])) if len(args.positionals) > 1 else reference.name
    return images.report(name, images.fetch(reference, name))
