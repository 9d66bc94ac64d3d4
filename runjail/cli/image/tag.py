"""tag: give an image one more name."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.session import ImageSession
from runjail.image.reference import parse

HELP = "give an image one more name"
ARGS = ("SRC", "NAME")
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Give the name."""
    images = ImageSession(args, context, make=False)
    name = images.local_name(parse(args.positionals[1]))
    images.content.tag(name, images.find(parse(args.positionals[0]))[1])
    return 0
