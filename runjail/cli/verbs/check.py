"""check: what this machine can and cannot do, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

from runjail import jsonio
from runjail.cli import containerd_config, modules
from runjail.cli.args import FORMAT, Args, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession
from runjail.cli.output import FOLD, choice, table
from runjail.errors import RunjailError

HELP = "say what this machine can and cannot do, and what mends it"
ARGS = ()
OPTIONS = (FORMAT, value("containerd", "", "FILE", "look at this configuration file of containerd instead"))


def run(args: Args, context: Context) -> int:
    """Print what this machine can do. Exit code 1 when something is missing that containers need.

    Rows without a remedy are for information, and so are Python modules: some verbs need each, none needs all.
    """
    form = choice(args, "table", "json")
    more: list[tuple[str, bool, str, str]] = []
    if args.text("containerd"):
        rows: Sequence[tuple[str, bool, str, str]] = containerd_config.rows(args.text("containerd"))
    else:
        host = context.host()
        rows, more = host.check(), [_store(args, context), *modules.rows(host.os)]
    if form == "json":
        names = ("what", "works", "found", "remedy")
        write_stdout(jsonio.dumps([dict(zip(names, row, strict=True)) for row in [*rows, *more]]) + "\n")
    else:
        heading = ("WHAT", "WORKS", "FOUND", "REMEDY")
        shown = [(what, "yes" if works else "no", found, remedy) for what, works, found, remedy in [*rows, *more]]
        write_stdout(table([heading, *shown], fit=FOLD))
    return 0 if all(works or not remedy for _, works, _, remedy in rows) else 1


def _store(args: Args, context: Context) -> tuple[str, bool, str, str]:
    """Return the row that says where images are kept and why there."""
    try:
        return ("store", True, ImageSession(args, context).chosen(), "")
    except RunjailError as error:
        return ("store", False, str(error), error.hint or "")
