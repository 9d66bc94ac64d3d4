"""Waiting for what ends by itself: a dying container, an unmount that the kernel has not finished."""

from __future__ import annotations

import time

from runjail.errors import InUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAIT, LONGEST_PAUSE = 5.0, 0.25  # seconds


def until_free(call: Callable[[], bool], what: str) -> None:
    """Repeat a call while it is refused, with False, as busy. Raises InUse, which says `what`, when it stays so."""
    end, pause = time.monotonic() + WAIT, 0.01
    while not call():
        if time.monotonic() >= end:
            raise InUse(f"{what} is busy: something is mounted or running in it")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
