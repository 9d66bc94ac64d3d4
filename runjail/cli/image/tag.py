"""tag: give an image one more name."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.names import local_name
from runjail.cli.image.session import ImageSession

HELP = "give an image one more name"
ARGS = ("SRC", "NAME")
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Give the name."""
    images = ImageSession(args, context, make=False)
    name = local_name(images.parse(args.positionals[1]))
    images.content.tag(name, images.find(images.parse(args.positionals[0]))[1])
    return 0
