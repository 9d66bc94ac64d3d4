"""The verbs: a module each with HELP, ARGS, OPTIONS and run(args, context), loaded alone.

ARGS are the names of the positionals: `[NAME]` may be left out, and `NAME...`, which ends the options, takes all that
follows. A HELP of "" hides a verb.
"""

from __future__ import annotations

VERBS = {
    verb: f"{__name__}.{verb}"
    for verb in (
        *("create", "start", "run", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume", "update"),
        *("events", "features", "spec", "plan", "validate", "check", "nri", "completion", "checkpoint"),
        *("logs", "attach", "wait", "top", "stats", "cp", "diff", "commit", "inspect", "monitor"),
    )
}
VERBS["restore"] = VERBS["checkpoint"]

# Verbs that have verbs: packages with HELP and VERBS
GROUPS = {"image": "runjail.cli.image", "network": "runjail.cli.network", "volume": "runjail.cli.volume"}
