"""A lock between all runjails of a machine: what they share, like devfs rulesets, knows no --root."""

from __future__ import annotations

import os

from runjail import locks
from runjail.host import programs

DIRECTORY = "/var/run"


class MachineLock:
    """Held by one process at a time; the kernel lets go of it when that process ends, however it does.

    lent: also held by the programs that it starts, until they have ended: they may outlive it.
    """

    def __init__(self, name: str, lent: bool = False) -> None:
        self._path = f"{DIRECTORY}/runjail-{name}.lock"
        self._lent, self._lock = lent, -1

    def __enter__(self) -> None:
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        locks.lock(self._lock)
        if self._lent:
            os.set_inheritable(self._lock, True)
            programs.HELD.add(self._lock)

    def __exit__(self, *raised: object) -> None:
        programs.HELD.discard(self._lock)
        os.close(self._lock)
