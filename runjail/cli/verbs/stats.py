"""stats: what containers use, as a table that is drawn anew, or as podman's JSON."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args, flag, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import table, terminal_columns
from runjail.cli.template import template
from runjail.cli.verbs.events import interval
from runjail.container.stats import Meter, usages

HELP = "show what containers use"
ARGS = ("[ID]", "MORE...")
OPTIONS = (
    TEMPLATE,
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
ON_TERMINAL = 7  # columns, docker's: with the others lines are longer than 80 letters
ALIASES = {  # podman's
    "avgcpu": "avg_cpu",
    "blockio": "block_io",
    "container": "id",
    "cpu": "cpu_percent",
    "cpuperc": "cpu_percent",
    "mem": "mem_percent",
    "memperc": "mem_percent",
    "memusage": "mem_usage",
    "netio": "net_io",
}
HOME = "\033[H\033[J"  # to the upper left corner, and clear from there (ECMA-48: CUP, ED)


def run(args: Args, context: Context) -> int:
    """Show what containers use until somebody interrupts it."""
    form = template(args, ALIASES)
    json = args.text("format") == "json"
    seconds = interval(args.text("interval") or "5s")
    anew = not (args.flag("no-reset") or args.flag("no-stream"))
    head = HOME if anew and not form and not json and os.isatty(1) else ""
    columns = {name: COLUMNS[name] for name in list(COLUMNS)[: ON_TERMINAL if terminal_columns() else None]}
    for found in usages(Meter(context.runtime(), [*args.positionals, *context.rest]), seconds):
        if form:
            write_stdout(form.render(found))
        elif json:
            write_stdout(jsonio.dumps(found) + "\n")
        else:
            write_stdout(head + table([list(columns), *[[row[key] for key in columns.values()] for row in found]]))
        if args.flag("no-stream"):
            break
    return 0
