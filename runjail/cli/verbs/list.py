"""list: the containers below --root.

What is JSON here, in ps and in events has no blanks, as runc's: scripts search it as text.
"""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import table, terminal_columns
from runjail.cli.template import template
from runjail.container.query import documents, owner_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELP = "list containers"
ARGS = ()
OPTIONS = (TEMPLATE, flag("quiet", "q", "only ids"), flag("all", "a", ""))  # docker's -a: these are all

ALIASES = {"names": "id", "name": "id", "state": "status", "createdat": "created"}  # podman's
HEADING = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "IMAGE")  # runc's, which scripts read, and one more
SECONDS = len("2026-01-02T03:04:05")  # of a time
ON_TERMINAL = ("ID", "STATUS", "IMAGE", "CREATED")


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
        return write_stdout(form.render(_with_images(found)))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(found, tight=True) + "\n")
    return write_stdout(table(_rows(_with_images(found))))


def _rows(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return what a table has: on a terminal what people want to know, who see the bundle of what has no image."""
    if not terminal_columns():
        return [HEADING, *[tuple(str(row[name.lower()]) or "-" for name in HEADING) for row in found]]
    shown = [{**row, "image": row["image"] or row["bundle"], "created": row["created"][:SECONDS]} for row in found]
    return [ON_TERMINAL, *[tuple(str(row[name.lower()]) for name in ON_TERMINAL) for row in shown]]


def _with_images(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**document, "image": document["annotations"].get("org.runjail.image.name", "")} for document in found]
