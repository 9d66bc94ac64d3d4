"""Processes that tests start: daemons, their end, and what a forked child has to say."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


def start_daemon(words: list[str], log: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a daemon in a session of its own, which adds what it prints to a log."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )


def end(process: "subprocess.Popen[Any]", number: int = signal.SIGTERM, seconds: float = 15) -> None:
    """Send a daemon a signal, and kill it when it does not end of that."""
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def report(descriptor: int, work: Callable[[], object]) -> NoReturn:
    """In a forked child: write what some work returned or raised, as text, and end without Python's clean-up."""
    try:
        text = f"{work()}"
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
    os.write(descriptor, text.encode())
    os._exit(0)
