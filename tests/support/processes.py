"""Processes that tests start: the end of a daemon, and what a forked child has to say."""

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, NoReturn


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
