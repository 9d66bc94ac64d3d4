"""logs: what a container that was started with `run -d --image` has written."""

from __future__ import annotations

import time
from datetime import datetime

from runjail import files
from runjail.cli.args import Args, flag, number, value
from runjail.cli.context import Context
from runjail.cli.verbs.monitor import becoming
from runjail.container import logs
from runjail.container.output_log import stamp
from runjail.errors import UsageError
from runjail.sizes import read_duration, read_number

HELP = "show what a container of run -d has written"
ARGS = ("ID",)
OPTIONS = (
    flag("follow", "f", "go on until the container has ended"),
    value("since", "", "TIME", "nothing older: 10m ago, 2026-11-30T12:00:00Z or seconds since 1970"),
    value("until", "", "TIME", "nothing newer"),
    value("tail", "n", "N", "only the last N lines"),
    flag("timestamps", "t", "with the time of each line"),
)

MOST_LINES = 2**31


def run(args: Args, context: Context) -> int:
    """Show what a container has written, what came from its standard error on ours."""
    runtime = context.runtime()
    since, until = (point_in_time(args.text(name), f"--{name}") for name in ("since", "until"))
    tail = -1 if args.text("tail") in ("", "all", "-1") else number(args.text("tail"), "--tail", MOST_LINES)
    found = logs.entries(
        args.positionals[0],
        runtime,
        since=since,
        until=until,
        tail=tail,
        follow=args.flag("follow"),
        become=becoming(runtime.root, context.nri_bin),
    )
    begun: set[str] = set()  # streams whose last line has no end yet
    for when, stream, ends, text in found:
        head = f"{when} ".encode() if args.flag("timestamps") and stream not in begun else b""
        files.write_all(1 if stream == "stdout" else 2, head + text + (b"\n" if ends else b""))
        begun = begun - {stream} if ends else begun | {stream}
    return 0


def point_in_time(text: str, option: str) -> str:
    """Return a time as logs have it: of a duration before now, a number of seconds, or RFC 3339. Raises UsageError."""
    if not text:
        return ""
    ago, seconds = read_duration(text), read_number(text.partition(".")[0], 2**33)
    if ago is not None:
        return stamp(time.time_ns() - round(ago * 1e9))
    if seconds is not None and "-" not in text and ":" not in text:
        return stamp(seconds * 1_000_000_000)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option}: not a time: {text[:40]!r}", "such as 10m, 2026-11-30T12:00:00Z or 1700000000"
        ) from None
    return stamp(round(found.timestamp() * 1e6) * 1000)
