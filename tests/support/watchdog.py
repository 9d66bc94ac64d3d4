"""The second alarm of limits.py, as a program of its own: a thread would make every fork of a test suspect.

Reads one JSON document a line: when to act (seconds of the monotonic clock, 0 for never), what hangs then, the
services to look at (name, pid, and a command that succeeds soon while the service is well), and the patience (seconds)
after which it acts a second time. First it kills the services that do not answer, or else the children of the process
that is watched; then that process itself, for which pytest-xdist starts another. Ends with its standard input.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

PATIENCE = 10.0  # seconds that a service may take to answer


def end_silent(services: Iterable[tuple[str, int, list[str]]]) -> list[str]:
    """Kill the services that do not answer; returns their names."""
    ended = []
    for name, pid, question in services:
        if not answers(question) and kill(pid):
            ended.append(f"{name} (pid {pid})")
    return ended


def answers(command: list[str]) -> bool:
    """Whether a command ends well soon. One that hangs in the kernel is left alone: it ends with its service."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
    try:
        return process.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return False


def kill(pid: int) -> bool:
    """Kill a process; False when it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, on Linux."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def watch(watched: int) -> None:
    """Follow what standard input says; the last line counts."""
    orders: dict[str, Any] = {"end": 0.0}
    again, half = False, b""
    while True:
        left = max(orders["end"] - time.monotonic(), 0) if orders["end"] else None
        if select.select([0], [], [], left)[0]:
            if not (block := os.read(0, 1 << 20)):
                return
            *lines, half = (half + block).split(b"\n")
            orders, again = (json.loads(lines[-1]), False) if lines else (orders, again)
        elif orders["end"] <= time.monotonic():
            act(orders, watched, again)
            orders["end"], again = 0.0 if again else time.monotonic() + orders["patience"], True


def act(orders: dict[str, Any], watched: int, again: bool) -> None:
    """End what may hold the process up that is watched; the second time, that itself."""
    ended = [] if again else end_silent(orders["services"])
    if not ended:
        ended = [f"pid {pid}" for pid in ([watched] if again else children(watched)) if kill(pid)]
    print(f"\n{orders['name']} hung; ended: {', '.join(ended) or 'nothing'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]))
