"""ps: the processes of a container, as a JSON array of pids or as a table."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import table
from runjail.cli.template import template
from runjail.container import query, top
from runjail.target import TARGETS

HELP = "list the processes of a container"
ARGS = ("ID", "OPTION...")
OPTIONS = (TEMPLATE,)


def run(args: Args, context: Context) -> int:
    """List processes: as ps(1) says it where options of that follow the id, as with runc."""
    late, form = _late_format(context.rest), template(args)
    runtime = context.runtime()
    pids = query.pids(args.positionals[0], runtime)
    if form and not late:
        heading, *rows = query.process_rows(pids)
        return write_stdout(form.render([dict(zip(heading, row, strict=True)) for row in rows]))
    if (late or args.text("format")) == "json":
        return write_stdout(jsonio.dumps(pids, tight=True) + "\n")
    if context.rest and not late:
        by_pid = TARGETS[runtime.host.os].ps_by_pid
        return write_stdout("".join(f"{line}\n" for line in top.lines(context.rest, pids, by_pid)))
    return write_stdout(table(query.process_rows(pids)))


def _late_format(words: list[str]) -> str:
    """Return the format of `ps ID -f json`, "" without one; other words are options of ps(1)."""
    name, _, value = " ".join(words).replace("=", " ").partition(" ")
    return value if name in ("-f", "--format") and value in ("table", "json") else ""
