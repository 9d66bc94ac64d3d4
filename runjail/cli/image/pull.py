"""pull: fetch an image from a registry."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.names import local_name
from runjail.cli.image.options import REMOTE, REPORT, SELECTED
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError

HELP = "fetch an image from a registry"
ARGS = ("REF", "[NAME]")
OPTIONS = (*SELECTED, *REMOTE, *REPORT)


def run(args: Args, context: Context) -> int:
    """Fetch an image."""
    images = ImageSession(args, context)
    reference = images.parse(args.positionals[0])
    if reference.kind != "registry":
        raise UsageError(f"{reference.name}: not a registry's image", "runjail image import takes layouts and archives")
    name = local_name(images.parse(args.positionals[1])) if len(args.positionals) > 1 else ""
    return images.report(*images.fetch_first(reference, name=name))
