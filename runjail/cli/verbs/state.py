"""state: print the state document of a container (runtime-spec, State)."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout

HELP = "print the state document of a container"
ARGS = ("ID",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Print a state document."""
    from runjail import jsonio
    from runjail.container.status import document

    return write_stdout(jsonio.dumps(document(context.runtime().find(args.positionals[0]))) + "\n")
