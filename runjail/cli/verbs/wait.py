"""wait: until containers have stopped; their exit statuses, one a line."""

from __future__ import annotations

from runjail import log
from runjail.cli.args import Args, value
from runjail.cli.context import Context, write_stdout
from runjail.cli.verbs.events import interval
from runjail.container.logs import UNKNOWN, exit_code

HELP = "wait until a container has stopped and print its exit status"
ARGS = ("ID", "MORE...")
OPTIONS = (value("interval", "i", "DURATION", "how often to look (default: 100ms)"),)


def run(args: Args, context: Context) -> int:
    """Wait for containers, in order. Nobody keeps the exit status of one that `create` or an engine made: -1."""
    seconds, runtime = interval(args.text("interval") or "100ms"), context.runtime()
    for container_id in [*args.positionals, *context.rest]:
        code = exit_code(container_id, runtime, seconds)
        if code == UNKNOWN:
            log.warning(
                f"nobody has the exit status of {container_id}: it was not run by `run -d --image`, or its monitor died"
            )
        write_stdout(f"{code}\n")
    return 0
