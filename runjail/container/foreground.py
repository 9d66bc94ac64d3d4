"""run and exec in the foreground: pass signals and the exit status through."""

from __future__ import annotations

import _signal
import os

from runjail import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT")


def wait(pid: int) -> int:
    """Wait for a child. Returns its exit status, 128+n for signal n."""
    return signals.exit_status(os.waitpid(pid, 0)[1])


def handle(action: Any) -> None:
    """Set what the signals do that are forwarded."""
    for name in FORWARDED:
        _signal.signal(getattr(_signal, name), action)


def forward_signals(pid: int) -> None:
    """Forward every signal we get, and those that came while signals were held: the program decides what they mean."""

    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    handle(forward)
    if signals.held():
        forward(signals.held(), None)
