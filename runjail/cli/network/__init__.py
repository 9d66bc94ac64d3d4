"""The verbs of `runjail network`, each a module as in `cli/verbs`."""

from __future__ import annotations

HELP = "work with networks of containers: create, ls, inspect, check, gc, rm"
VERBS = {verb: f"{__name__}.{verb}" for verb in ("create", "ls", "inspect", "check", "gc", "rm")}
