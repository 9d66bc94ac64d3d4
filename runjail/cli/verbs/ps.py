"""ps: the processes of a container, as a JSON array of pids or as a table."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import FORMAT, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice, table
from runjail.container import query

HELP = "list the processes of a container"
ARGS = ("ID", "OPTION...")
OPTIONS = (FORMAT,)


def run(args: Args, context: Context) -> int:
    """List processes."""
    form = _late_format(context.rest) or choice(args, "table", "json")
    pids = query.pids(args.positionals[0], context.runtime())
    if form == "json":
        return write_stdout(jsonio.dumps(pids, tight=True) + "\n")
    return write_stdout(table(query.process_rows(pids)))


def _late_format(words: list[str]) -> str:
    """Return the format of `ps ID -f json`, "" without one; other words are options of a ps(1), which nobody asks."""
    name, _, value = " ".join(words).replace("=", " ").partition(" ")
    return value if name in ("-f", "--format") and value in ("table", "json") else ""
