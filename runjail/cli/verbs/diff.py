"""diff: what a container has added (A), changed (C) and deleted (D) of its image's files."""

from __future__ import annotations

import json
import os

from runjail.cli.args import FORMAT, Args
from runjail.cli.container_image import ContainerImage
from runjail.cli.context import Context, write_stdout
from runjail.cli.output import choice, plain

HELP = "show what a container of an image has changed"
ARGS = ("ID",)
OPTIONS = (FORMAT,)
KEYS = {"A": "added", "C": "changed", "D": "deleted"}  # podman's


def run(args: Args, context: Context) -> int:
    """Show the changes, sorted by path."""
    form = choice(args, "table", "json")
    changes = [(kind, f"/{os.fsdecode(path)}") for kind, path in ContainerImage(args, context).changes()]
    if form == "json":
        found = {name: [path for kind, path in changes if kind == letter] for letter, name in KEYS.items()}
        return write_stdout(json.dumps({name: paths for name, paths in found.items() if paths}) + "\n")
    return write_stdout("".join(f"{kind} {plain(path)}\n" for kind, path in changes))
