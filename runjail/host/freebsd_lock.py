"""A lock between all runjails of a machine: what they share, like devfs rulesets, knows no --root."""

import fcntl
import os

DIRECTORY = "/var/run"


class MachineLock:
    """Held by one process at a time; the kernel lets go of it when that process ends, however it does."""

    def __init__(self, name: str) -> None:
        self._path = f"{DIRECTORY}/runjail-{name}.lock"
        self._lock = -1

    def __enter__(self) -> None:
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *raised: object) -> None:
        os.close(self._lock)
