"""spec: write an example config.json."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.cli.args import BUNDLE, Args, ignored
from runjail.cli.context import Context
from runjail.cli.example import example
from runjail.errors import UsageError
from runjail.target import TARGETS

HELP = "write an example config.json"
ARGS = ()
OPTIONS = (BUNDLE, ignored("rootless"))


def run(args: Args, context: Context) -> int:
    """Write config.json where there is none."""
    path = os.path.join(args.text("bundle") or ".", "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(jsonio.dumps(example(TARGETS[context.host().os]), indent=4) + "\n")
    except FileExistsError:
        raise UsageError("File config.json exists. Remove it first") from None
    return 0
