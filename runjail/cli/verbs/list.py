"""list: the containers below --root.

What is JSON here, in ps and in events has no blanks, as runc's: scripts search it as text.
"""

from __future__ import annotations

from typing import Any

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import table
from runjail.cli.template import template
from runjail.container.query import documents, owner_name

HELP = "list containers"
ARGS = ()
OPTIONS = (TEMPLATE, flag("quiet", "q", "only ids"), flag("all", "a", ""))  # docker's -a: these are all

ALIASES = {"names": "id", "name": "id", "state": "status", "createdat": "created"}  # podman's
HEADING = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(args: Args, context: Context) -> int:
    """List containers."""
    form = template(args, ALIASES)
    runtime = context.runtime()
    if args.flag("quiet"):
        return write_stdout("".join(f"{container_id}\n" for container_id in runtime.ids()))
    found = documents(runtime)
    owners = {owner: owner_name(owner) for owner in {document["owner"] for document in found}}
    for document in found:
        document["owner"] = owners[document["owner"]]
    if form:
        return write_stdout(form.render([{**document, "image": _image(document)} for document in found]))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(found, tight=True) + "\n")
    return write_stdout(table([HEADING, *[tuple(str(row[name.lower()]) or "-" for name in HEADING) for row in found]]))


def _image(document: dict[str, Any]) -> str:
    name: str = document["annotations"].get("org.runjail.image.name", "")
    return name
