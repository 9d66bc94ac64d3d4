"""Telling when programs have ended that outlived the runjail which started them.

A runjail may be killed while jail(8) works for it, and whoever cleans up must not look before jail(8) is done: it
would find nothing, and the jail would appear afterwards. So programs inherit a locked file, and undoing waits for it.
"""

from __future__ import annotations

import fcntl
import os
import time

from runjail.errors import HostError
from runjail.host import programs

PATIENCE = 120.0  # seconds; no program of ours may take longer
FILE = "programs"


class InheritedLock:
    """While this is held, every program that is started keeps the lock on a file in the directory until it ends."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{FILE}"
        self._lock = -1

    def __enter__(self) -> None:
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        os.set_inheritable(self._lock, True)
        programs.HELD.add(self._lock)

    def __exit__(self, *raised: object) -> None:
        programs.HELD.discard(self._lock)
        os.close(self._lock)


def wait_for_programs(directory: str) -> None:
    """Return when no program started under an InheritedLock of this directory runs any more. Raises HostError."""
    try:
        lock = os.open(f"{directory}/{FILE}", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        deadline = time.monotonic() + PATIENCE
        while not _is_free(lock):
            if time.monotonic() > deadline:
                raise HostError(f"undo: a program that was started for the container runs longer than {PATIENCE:g} s")
            time.sleep(0.005)
    finally:
        os.close(lock)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
