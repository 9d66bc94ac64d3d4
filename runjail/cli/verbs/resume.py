"""resume: let a paused container run again."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context

HELP = "let a paused container run again"
ARGS = ("ID",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Resume a container."""
    from runjail.container.pause import resume

    resume(args.positionals[0], context.runtime())
    return 0
