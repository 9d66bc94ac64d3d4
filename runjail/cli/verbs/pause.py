"""pause: stop all processes of a container."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context

HELP = "stop all processes of a container"
ARGS = ("ID",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Pause a container."""
    from runjail.container.pause import pause

    pause(args.positionals[0], context.runtime())
    return 0
