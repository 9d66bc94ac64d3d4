"""stats: what containers use, as a table that is drawn anew, or as podman's JSON."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.cli.args import FORMAT, Args, flag, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice, table
from runjail.cli.verbs.events import interval
from runjail.container.stats import Meter, usages

HELP = "show what containers use"
ARGS = ("[ID]", "MORE...")
OPTIONS = (
    FORMAT,
    flag("no-stream", "", "once, without the next ones"),
    flag("no-reset", "", "one table below the other"),
    value("interval", "i", "DURATION", "time between two tables (default: 5s)"),
)

COLUMNS = {
    "ID": "id",
    "CPU %": "cpu_percent",
    "MEM USAGE / LIMIT": "mem_usage",
    "MEM %": "mem_percent",
    "NET IO": "net_io",
    "BLOCK IO": "block_io",
    "PIDS": "pids",
    "CPU TIME": "cpu_time",
    "AVG CPU %": "avg_cpu",
}
HOME = "\033[H\033[J"  # to the upper left corner, and clear from there (ECMA-48: CUP, ED)


def run(args: Args, context: Context) -> int:
    """Show what containers use until somebody interrupts it."""
    form = choice(args, "table", "json")
    seconds = interval(args.text("interval") or "5s")
    head = HOME if form == "table" and os.isatty(1) and not (args.flag("no-reset") or args.flag("no-stream")) else ""
    for found in usages(Meter(context.runtime(), [*args.positionals, *context.rest]), seconds):
        if form == "json":
            write_stdout(jsonio.dumps(found) + "\n")
        else:
            write_stdout(head + table([list(COLUMNS), *[[row[key] for key in COLUMNS.values()] for row in found]]))
        if args.flag("no-stream"):
            break
    return 0
