"""ls: the named volumes of the store."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession
from runjail.cli.output import table
from runjail.cli.template import template

HELP = "list volumes"
ARGS = ()
OPTIONS = (TEMPLATE, flag("quiet", "q", "only names"))

ALIASES = {"mountpoint": "path"}  # podman's
HEADING = ("NAME", "PATH")


def run(args: Args, context: Context) -> int:
    """List volumes."""
    form, images = template(args, ALIASES), ImageSession(args, context, make=False)
    volumes = images.store.volumes().all() if images.there() else []
    rows = [{"name": each.name, "path": each.path, "dataset": each.dataset} for each in volumes]
    if args.flag("quiet"):
        return write_stdout("".join(f"{row['name']}\n" for row in rows))
    if form:
        return write_stdout(form.render(rows))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    return write_stdout(table([HEADING, *[tuple(row[name.lower()] for name in HEADING) for row in rows]]))
