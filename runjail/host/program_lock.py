"""Telling when programs have ended that outlived the runjail which started them.

A runjail may be killed while jail(8) works for it, and whoever cleans up must not look before jail(8) is done: it
would find nothing, and the jail would appear afterwards. So programs inherit a locked file, and undoing waits for it.
"""

from __future__ import annotations

import os

from runjail import locks
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
        locks.lock(self._lock, shared=True)
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
        if not locks.lock_within(lock, PATIENCE):
            raise HostError(f"undo: a program that was started for the container runs longer than {PATIENCE:g} s")
    finally:
        os.close(lock)
