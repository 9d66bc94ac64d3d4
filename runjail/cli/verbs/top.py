"""top: the processes of a container, as ps(1) shows them."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import table
from runjail.container.top import rows

HELP = "show the processes of a container, with columns of ps(1)"
ARGS = ("ID", "COLUMN...")
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Show processes: user, pid, ppid, %cpu, time and command, or the columns that are named."""
    return write_stdout(table(rows(args.positionals[0], context.rest, context.runtime())))
