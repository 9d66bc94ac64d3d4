"""list: the containers below --root.

What is JSON here, in ps and in events has no blanks, as runc's: scripts search it as text.
"""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import FORMAT, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice, table
from runjail.container.query import documents, owner_name

HELP = "list containers"
ARGS = ()
OPTIONS = (FORMAT, flag("quiet", "q", "only ids"))

HEADING = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(args: Args, context: Context) -> int:
    """List containers."""
    form = choice(args, "table", "json")
    runtime = context.runtime()
    if args.flag("quiet"):
        return write_stdout("".join(f"{container_id}\n" for container_id in runtime.ids()))
    found = documents(runtime)
    for document in found:
        document["owner"] = owner_name(document["owner"])
    if form == "json":
        return write_stdout(jsonio.dumps(found, tight=True) + "\n")
    return write_stdout(table([HEADING, *[tuple(str(row[name.lower()]) or "-" for name in HEADING) for row in found]]))
