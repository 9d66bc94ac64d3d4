"""What this process has more of than before: threads, descriptors, children.

What a test before it left may go meanwhile (a server's thread that ends, a file that the collector closes), so these
are differences of sets, never of numbers.
"""

import os
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest


def _is_open(descriptor: int) -> bool:
    """Whether it is, once the directory is closed that was read: its number depends on accept(2)s that wait."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Held:
    """The threads and descriptors of this process when it is made."""

    threads: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))
    descriptors: frozenset[int] = field(
        default_factory=lambda: frozenset(filter(_is_open, map(int, os.listdir("/dev/fd"))))
    )

    def more(self) -> list[str]:
        """Return what came since and is still there: names of threads, numbers of descriptors."""
        now = Held()
        names = [thread.name for thread in now.threads - self.threads]
        return names + [str(number) for number in sorted(now.descriptors - self.descriptors)]


def children() -> set[Any]:
    """Return our children, those included that nobody has waited for. Some are the session's: zfs-fuse."""
    psutil = pytest.importorskip("psutil")
    return set(psutil.Process().children())
