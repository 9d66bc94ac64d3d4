"""No test waits for ever: a test that takes too long fails, and a service that stopped answering is ended and named.

Two alarms watch each of set-up, call and clean-up. The first is a signal, which ends whatever the main thread waits for
with a failure. Where no signal arrives, because a system call on a file system hangs whose server does, the second
comes from a thread: it kills the services that do not answer, and then all children, so that the call returns.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

SECONDS = 300.0  # for one phase of a test on a loaded machine; nearly all take less than one
GRACE = 30.0  # until the second alarm


class Services:
    """Programs that tests share: each with its pid and a command that it answers at once while it is well."""

    known: dict[int, tuple[str, list[str]]] = {}

    @classmethod
    def add(cls, name: str, pid: int, question: list[str]) -> None:
        """Watch a service from now on."""
        cls.known[pid] = (name, question)

    @classmethod
    def forget(cls, pid: int) -> None:
        """Watch it no longer."""
        cls.known.pop(pid, None)

    @classmethod
    def end_silent(cls) -> list[str]:
        """Kill those that do not answer within ten seconds; returns their names."""
        ended = []
        for pid, (name, question) in list(cls.known.items()):
            if not _answers(question):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                cls.forget(pid)
                ended.append(f"{name} (pid {pid})")
        return ended


def _answers(command: list[str]) -> bool:
    """Whether a command ends well soon. One that hangs in the kernel is left alone: it ends with its service."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
    try:
        return process.wait(10) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return False


def children() -> list[int]:
    """Return the pids of this process's children, on Linux."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _second_alarm(name: str) -> None:
    """Run in a thread of its own: the main thread hangs in a system call."""
    ended = Services.end_silent()
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    print(f"\n{name} hung; ended: {', '.join(ended) or 'its children'}", file=sys.__stderr__, flush=True)


@contextlib.contextmanager
def limited(name: str, seconds: float) -> Iterator[None]:
    """Fail what runs inside when it takes longer than `seconds`."""

    def first_alarm(_signal: int, _frame: FrameType | None) -> None:
        ended = Services.end_silent()
        silent = f"; {', '.join(ended)} did not answer and was ended" if ended else ""
        pytest.fail(f"not done after {seconds:.0f} s{silent}")

    second = threading.Timer(seconds + GRACE, _second_alarm, (name,))
    second.daemon = True
    before = signal.signal(signal.SIGALRM, first_alarm)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    second.start()
    try:
        yield
    finally:
        second.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def seconds_of(item: pytest.Item) -> float:
    """Return the limit of a test: the marker's `limit(seconds)`, or the usual one."""
    marker = item.get_closest_marker("limit")
    return float(marker.args[0]) if marker else SECONDS
