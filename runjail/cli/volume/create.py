"""create: make a named volume."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession

HELP = "make a volume, which run --image mounts by its name"
ARGS = ("NAME",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Make a volume; one that is there is success."""
    name = args.positionals[0]
    ImageSession(args, context).store.volumes().make(name)
    return write_stdout(f"{name}\n")
