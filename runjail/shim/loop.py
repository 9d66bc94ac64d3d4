"""One poll(2) loop: descriptors, timers and the ends of children.

No threads, so fork(2) is safe at any moment. Not asyncio: importing that costs 32 ms and 11 MB here, more than all the
rest of a shim together.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from runjail import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.POLLIN, select.POLLOUT
ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Loop:
    """Calls functions when descriptors are ready, when time has come, and when a child has ended.

    on_exit: called with the pid and wait status of every child.
    """

    def __init__(self, on_exit: Callable[[int, int], None] = lambda pid, status: None) -> None:
        self.on_exit = on_exit
        self.ending = False
        self._poll = select.poll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._wake, self._waker = os.pipe()

    def watch_children(self) -> None:
        """From now on collect children; a signal that comes while we are busy is kept in a pipe."""
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)  # a handler, or nothing is written to the pipe
        _signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self.watch(self._wake, READ, self._woken)

    def forget(self) -> None:
        """In a forked child: stop handling signals, and let go of the pipe that they are written to."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)

    def watch(self, descriptor: int, events: int, call: Callable[[int], None]) -> None:
        """Call `call(events)` whenever the descriptor is ready; ENDED comes unasked. Replaces an earlier watch."""
        self._poll.register(descriptor, events)
        self._watched[descriptor] = call

    def unwatch(self, descriptor: int) -> None:
        """Watch it no more; closed or unknown descriptors are fine, before the number is used again."""
        if self._watched.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, `seconds` from now."""
        self._number += 1
        self._timers.append((time.monotonic() + seconds, self._number, call))
        self._timers.sort(key=lambda timer: timer[:2])

    def run(self) -> None:
        """Work until `ending` is set. What fails is logged: one bad event must not end every container's shim."""
        while not self.ending:
            ready = [
                (self._watched[descriptor], descriptor, events)
                for descriptor, events in self._poll.poll(self._patience())
            ]
            for call, descriptor, events in ready:
                if self._watched.get(descriptor) == call:  # and not closed meanwhile, its number used again
                    self.guarded(lambda call=call, events=events: call(events))  # type: ignore[misc]
            while self._timers and self._timers[0][0] <= time.monotonic():
                self.guarded(self._timers.pop(0)[2])

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic()) * 1000 + 1

    def guarded(self, call: Callable[[], None]) -> None:
        """Call it; what fails is logged."""
        try:
            call()
        except Exception as error:
            log.warning(f"shim: internal error: {type(error).__name__}: {error}{_place(error)}")

    def _woken(self, _events: int) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.guarded(lambda pid=pid, status=status: self.on_exit(pid, status))  # type: ignore[misc]


def _place(error: BaseException) -> str:
    """Return where an error was raised, for the log."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace else ""
