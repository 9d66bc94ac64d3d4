"""Work on whole trees, spread over a few threads: system calls mostly, while which others run."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from typing import Any

    Work = Callable[[Any], Iterable[Any]]

MOST = 4
ENOUGH = 16  # items that wait when it is worth while to have help
PAUSE = 0.002  # seconds between two looks whether there is something to do again


def spread(first: Iterable[Any], work: Work, threads: int = 0) -> None:
    """Do work on items and on those that it returns, in any order, until there are none.

    threads: how many at most, 0 for what suits the machine. Raises the first error, when nobody is at work any more.
    """
    todo = _Todo(first, work)
    helpers: list[threading.Thread] = []
    most = threads or min(MOST, os.cpu_count() or 1)
    try:
        while todo.more() or helpers:
            todo.step()
            helpers = [helper for helper in helpers if helper.is_alive()]
            if todo.more() and len(todo.waiting) >= ENOUGH and len(helpers) < most - 1:
                try:
                    helpers.append(todo.helper())
                except RuntimeError:  # we may have no more threads: it is slower without
                    most = 1
            elif not todo.more() and helpers:
                helpers[0].join(PAUSE)
    except BaseException as error:  # a signal, too
        todo.fail(error)
    for helper in helpers:
        helper.join()
    if todo.error:
        raise todo.error


class _Todo:
    """Items that wait for a thread. error: the first, after which nothing is begun."""

    def __init__(self, first: Iterable[Any], work: Work) -> None:
        self.waiting, self._work = list(first), work
        self.error: BaseException | None = None

    def more(self) -> bool:
        """Say whether there is something to begin."""
        return bool(self.waiting) and self.error is None

    def step(self) -> None:
        """Work on one item, if there is one. Raises what the work raises."""
        if self.error is not None:
            return
        try:
            item = self.waiting.pop()
        except IndexError:  # another thread was faster
            return
        self.waiting.extend(self._work(item))

    def helper(self) -> threading.Thread:
        """Start a thread that works until nothing waits."""
        import threading  # who works alone pays nothing for it

        thread = threading.Thread(target=self._help, daemon=True)
        thread.start()
        return thread

    def _help(self) -> None:
        try:
            while self.more():
                self.step()
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Let everybody stop."""
        self.error = self.error or error
