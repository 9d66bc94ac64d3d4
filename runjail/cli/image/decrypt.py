"""decrypt: layers of images in the store, in layouts and in archives."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.encrypt import change
from runjail.cli.image.options import KEY, LAYER, REMOTE, REPORT, SELECTED
from runjail.cli.image.session import ImageSession

HELP = "decrypt layers"
ARGS = ("SRC", "[DST]")
OPTIONS = (KEY, LAYER, *SELECTED, *REMOTE, *REPORT)


def run(args: Args, context: Context) -> int:
    """Decrypt layers."""
    return change(ImageSession(args, context), None)
