"""start: run the program of a created container."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context

HELP = "run the program of a created container"
ARGS = ("ID",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Start a created container."""
    from runjail.container.start import start

    start(args.positionals[0], context.runtime())
    return 0
