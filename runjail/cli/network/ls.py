"""ls: the networks that lists describe."""

from __future__ import annotations

from typing import Any

from runjail import jsonio, log
from runjail.cli.args import TEMPLATE, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.network.places import places
from runjail.cli.output import table
from runjail.cli.template import template
from runjail.network.lists import NetworkList, load

HELP = "list networks"
ARGS = ()
OPTIONS = (TEMPLATE, flag("quiet", "q", "only names"))

HEADING = ("NAME", "VERSION", "PLUGINS", "FILE")


def run(args: Args, context: Context) -> int:
    """List networks; a list that cannot be understood is a warning."""
    form = template(args, {})
    found = sorted(load(places(context).directories, log.warning), key=lambda each: each.name)
    if args.flag("quiet"):
        return write_stdout("".join(f"{each.name}\n" for each in found))
    rows = [_row(each) for each in found]
    if form:
        return write_stdout(form.render(rows))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    return write_stdout(table([HEADING, *[tuple(row[name.lower()] for name in HEADING) for row in rows]]))


def _row(listed: NetworkList) -> dict[str, Any]:
    kinds = ",".join(plugin["type"] for plugin in listed.plugins)
    return {"name": listed.name, "version": listed.version, "plugins": kinds, "file": listed.path}
