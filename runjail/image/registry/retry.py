"""Trying again: exponential back-off with jitter, bounded, in the server's rhythm if it has one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import mktime_tz, parsedate_tz
from typing import TypeVar

from runjail import log
from runjail.errors import RegistryError

Result = TypeVar("Result")

ATTEMPTS = 6
FIRST = 0.25  # seconds before the second attempt; doubled for each further one
LONGEST = 60.0  # seconds; who is told to wait longer is told so instead
SILENT = 5.0  # seconds after which people are told why nothing moves
PATIENCE = 75.0  # seconds of no answer at all, in one try or several, after which none is begun any more


class Temporary(Exception):
    """A failure that may pass; it never leaves this package. error: what to raise in the end.

    wait: seconds that the server asked for (Retry-After), None when it did not. silent: it did not answer at all.
    """

    def __init__(self, error: RegistryError, wait: float | None = None, silent: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.wait, self.silent = error, wait, silent


class Retry:
    """How often and how fast. sleep: called with seconds; it may raise to give up. clock: returns seconds."""

    def __init__(
        self,
        sleep: Callable[[float], None],
        attempts: int = ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sleep, self.attempts, self.clock = sleep, attempts, clock

    def run(self, work: Callable[[], Result]) -> Result:
        """Return work's result, started again after each Temporary. Raises its error when there were too many."""
        failures = Failures(self)
        while True:
            start = self.clock()
            try:
                return work()
            except Temporary as lost:
                failures.add(lost, self.clock() - start)


class Failures:
    """Those in a row: how many, and the seconds of them in which there was no answer."""

    def __init__(self, retry: Retry) -> None:
        self._retry, self._number, self._silence = retry, 0, 0.0

    def add(self, lost: Temporary, took: float) -> None:
        """Wait after one more, `took` seconds after its start. Raises the error when it is time to give up."""
        self._number += 1
        self._silence += took if lost.silent else 0.0
        if self._silence >= PATIENCE:
            raise RegistryError(f"{lost.error}, {self._silence:.0f} s in all", lost.error.hint, lost.error.status)
        if self._number >= self._retry.attempts:
            raise lost.error
        wait = FIRST * 2 ** (self._number - 1) * random.uniform(0.5, 1.5) if lost.wait is None else lost.wait
        if wait > LONGEST and lost.wait is not None:
            raise RegistryError(f"{lost.error}: try again in {wait:.0f} s", status=lost.error.status)
        if took + wait > SILENT:
            log.warning(f"{lost.error}: trying again, {self._number} of {self._retry.attempts - 1}")
        self._retry.sleep(min(wait, LONGEST))


def parse_retry_after(text: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None when it cannot be read.

    now: the time in seconds since the epoch, for headers that name a date.
    """
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    date = parsedate_tz(text)
    return max(0.0, mktime_tz(date) - now) if date else None
