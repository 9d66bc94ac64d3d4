"""events: the resource usage of a container, one JSON object a line, as runc prints it."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import Args, flag, value
from runjail.cli.context import Context, write_stdout
from runjail.container import query
from runjail.errors import UsageError
from runjail.sizes import read_duration

HELP = "print the resource usage of a container"
ARGS = ("ID",)
OPTIONS = (
    flag("stats", "", "print one event and end"),
    value("interval", "", "DURATION", "time between events (default: 5s)"),
)

MAX_INTERVAL = 86400.0  # seconds


def run(args: Args, context: Context) -> int:
    """Print stats events."""
    seconds = interval(args.text("interval") or "5s")
    for event in query.events(args.positionals[0], seconds, args.flag("stats"), context.runtime()):
        write_stdout(jsonio.dumps(event, tight=True) + "\n")
    return 0


def interval(text: str) -> float:
    """Return the seconds of --interval. Raises UsageError."""
    seconds = read_duration(text)
    if seconds is None:
        raise UsageError(f"not a duration such as 5s or 100ms: {text[:40]!r}")
    if not 0 < seconds <= MAX_INTERVAL:
        raise UsageError(f"the interval must be above 0 and at most 24h: {text[:40]!r}")
    return seconds
