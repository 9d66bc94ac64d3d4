"""flock(2) on open files and directories.

A lock ends when the last descriptor of its open(2) is closed.
"""

from __future__ import annotations

import fcntl
import time

POLL = 0.005  # seconds between two tries


def lock(descriptor: int, shared: bool = False) -> None:
    """Take a lock, however long others have it. Raises OSError when the file system refuses."""
    fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Take a lock unless somebody else has it. Raises OSError when the file system refuses."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, seconds: float, shared: bool = False) -> bool:
    """Take a lock if it comes free within this time. Raises OSError when the file system refuses."""
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor, shared):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def unlock(descriptor: int) -> None:
    """Let go of a lock before its descriptors are closed, also for those who inherited them."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
