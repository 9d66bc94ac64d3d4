"""kill: send a signal to init, to every process, or to one process of a container."""

from __future__ import annotations

from runjail.cli.args import Args, flag, number, value
from runjail.cli.context import Context
from runjail.errors import UsageError

HELP = "send a signal (default: TERM)"
ARGS = ("ID", "[SIGNAL]")
OPTIONS = (
    value("signal", "s", "SIGNAL", "the signal, where it does not follow the id"),
    flag("all", "a", "signal every process of the container"),
    value("pid", "p", "PID", "signal this process of the container instead of init"),
)


def run(args: Args, context: Context) -> int:
    """Send a signal."""
    from runjail.container.kill import SIGTERM, kill, signal_number

    words = [*args.positionals[1:], *filter(None, [args.text("signal")])]
    if len(words) > 1:
        raise UsageError(f"kill: one signal, not {words[1][:40]} and {words[0][:40]}")
    signal = signal_number(words[0]) if words else SIGTERM
    kill(args.positionals[0], signal, args.flag("all"), _pid(args.text("pid")), context.runtime())
    return 0


def _pid(text: str) -> int:
    return number(text, "--pid", 2**31 - 1) if text else 0
