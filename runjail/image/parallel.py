"""Several things at once, of which the first failure, or Ctrl-C, ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

Check = Callable[[], None]
Wait = Callable[[int], None]


class Stopped(Exception):
    """The work is being given up."""


def run(tasks: Sequence[Callable[[Check], None]], jobs: int, meanwhile: Callable[[Wait], None] | None = None) -> None:
    """Run tasks in up to `jobs` threads, and return when all have ended. Raises the first error.

    Each task is given a function to call now and then; it raises Stopped, which the task lets pass, when the others
    have failed or when the caller was interrupted.
    meanwhile: what the caller's thread does; it is given a function that waits for the end of a task, by its number,
    and raises Stopped, to be let pass, when that does not come. What it raises itself ends the tasks.
    """
    work = _Work(tasks)
    threads = [threading.Thread(target=work.take, daemon=True) for _ in range(min(jobs, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        if meanwhile:
            with suppress(Stopped):  # a task says why
                meanwhile(work.wait)
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C: the threads are daemons, one that hangs on a network does not hold us
        work.stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join(1.0)
        raise
    if work.error:
        raise work.error


class _Work:
    def __init__(self, tasks: Sequence[Callable[[Check], None]]) -> None:
        self.waiting = list(enumerate(tasks))[::-1]
        self.ended: set[int] = set()
        self.changed = threading.Condition()
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def take(self) -> None:
        """Do one task after the other."""
        while not self.stop.is_set():
            try:
                number, task = self.waiting.pop()
            except IndexError:
                return
            try:
                task(self.check)
            except BaseException as error:
                if not self.stop.is_set():  # later failures are consequences of the first
                    self.error = error
                    self.stop.set()
            else:
                self.ended.add(number)
            with self.changed:
                self.changed.notify_all()

    def wait(self, number: int) -> None:
        """Wait until a task has ended. Raises Stopped when one has failed before."""
        with self.changed:
            while number not in self.ended:
                self.check()
                self.changed.wait()

    def check(self) -> None:
        """Raise Stopped when there is no use in going on."""
        if self.stop.is_set():
            raise Stopped
