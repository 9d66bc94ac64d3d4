"""Turns of a loop whose other ends are in this process too."""

import select
import time
from collections.abc import Callable

from runjail.shim.loop import Loop

SECONDS = 60.0  # for what has to come
PAUSE = 0.005


def turn(loop: Loop, done: Callable[[], object] = lambda: True) -> None:
    """Let everybody work until nobody has anything to do and `done` holds; how long that takes does not matter."""
    end = time.monotonic() + SECONDS

    def look() -> None:
        if (_nothing_to_do(loop) and done()) or time.monotonic() > end:
            loop.ending = True
        else:
            loop.later(PAUSE, look)

    loop.ending = False
    loop.later(0, look)
    loop.run()


def _nothing_to_do(loop: Loop) -> bool:
    poll: select.poll = loop._poll
    return not poll.poll(0)
