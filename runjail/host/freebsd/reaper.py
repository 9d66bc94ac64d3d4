"""Keeping the descendants of a process on FreeBSD: procctl(2), PROC_REAP_ACQUIRE and PROC_REAP_KILL."""

from __future__ import annotations

import _signal

from runjail.host.freebsd import libc as libc_freebsd
from runjail.host.freebsd.libc import Libc

PROC_REAP_ACQUIRE = 2


class FreeBSDReaper:
    """`Kernel` for FreeBSD. libc: another kernel, for tests."""

    def __init__(self, libc: Libc | None = None) -> None:
        self._libc = libc or libc_freebsd.load()

    def adopt(self) -> None:
        """Become the parent of every orphan below us, inside jails too. Raises OSError."""
        self._libc.procctl(PROC_REAP_ACQUIRE, None)

    def kill_children(self) -> None:
        """Kill all descendants. Raises OSError."""
        self._libc.reap_kill(_signal.SIGKILL)
