"""The verbs of `runjail volume`, each a module as in `cli/verbs`."""

from __future__ import annotations

HELP = "work with named volumes: create, ls, inspect, rm"
VERBS = {verb: f"{__name__}.{verb}" for verb in ("create", "ls", "inspect", "rm")}
