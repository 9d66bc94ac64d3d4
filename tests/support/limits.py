"""No test waits for ever: a test that takes too long fails, and a service that stopped answering is ended and named.

Three alarms watch each of set-up, call and clean-up. The first is a signal, which ends whatever the main thread waits
for with a failure. Where no signal arrives, because a system call on a file system hangs whose server does, the second
comes from another process (tests/support/watchdog.py): it kills the services that do not answer, so that the call
returns. The third ends this process.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from os import getpid, write  # as they are now: tests replace os.write and the clock
from time import monotonic
from types import FrameType

import pytest

from tests.support import watchdog

SECONDS = 600.0  # for one phase of a test on a loaded machine; nearly all take less than one
GRACE = 30.0  # until the second alarm
PATIENCE = 30.0  # from that to the third
START = 'exec 3<&0; "$@" <&3 3<&- &'  # no child of ours: some tests wait for all of theirs


class Services:
    """Programs that tests share: each with its pid and a command that succeeds soon while it is well."""

    known: dict[int, tuple[str, int, list[str]]] = {}

    @classmethod
    def add(cls, name: str, pid: int, question: list[str]) -> None:
        """Watch a service from now on."""
        cls.known[pid] = (name, pid, question)

    @classmethod
    def forget(cls, pid: int) -> None:
        """Watch it no longer."""
        cls.known.pop(pid, None)

    @classmethod
    def end_silent(cls) -> list[str]:
        """Kill those that do not answer; returns their names."""
        return watchdog.end_silent(cls.known.values())


class Alarm:
    """The second alarm: what it watches at present, and the pipe to it."""

    now: tuple[float, str] = (0.0, "")

    @classmethod
    def set(cls, end: float, name: str) -> tuple[float, str]:
        """Let it act at the time `end` of the monotonic clock, never for 0; returns what was set before."""
        before, cls.now = cls.now, (end, name)
        orders = {"end": end, "name": name, "services": list(Services.known.values()), "patience": PATIENCE}
        with contextlib.suppress(BrokenPipeError):
            write(_pipe(getpid()), json.dumps(orders).encode() + b"\n")
        return before


@functools.cache
def _pipe(pid: int) -> int:
    """Start the other process for this one, whose pid is given; returns the pipe to it."""
    reading, writing = os.pipe()
    command = ["sh", "-c", START, "sh", sys.executable, watchdog.__file__, str(pid)]
    subprocess.run(command, stdin=reading, check=True)
    os.close(reading)
    return writing


@contextlib.contextmanager
def limited(name: str, seconds: float) -> Iterator[None]:
    """Fail what runs inside when it takes longer than `seconds`."""

    def first_alarm(_signal: int, _frame: FrameType | None) -> None:
        ended = Services.end_silent()
        silent = f"; {', '.join(ended)} did not answer and was ended" if ended else ""
        pytest.fail(f"not done after {seconds:.0f} s{silent}")

    second = Alarm.set(monotonic() + seconds + GRACE, name)
    before = signal.signal(signal.SIGALRM, first_alarm)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        Alarm.set(*second)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def seconds_of(item: pytest.Item) -> float:
    """Return the limit of a test: the marker's `limit(seconds)`, or the usual one."""
    marker = item.get_closest_marker("limit")
    return float(marker.args[0]) if marker else SECONDS
