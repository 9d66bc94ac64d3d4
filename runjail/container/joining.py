"""The process that a verb sends into a container, followed from the fork to where it is inside.

The container's processes see it there and may stop it, so no wait for it is without end.
"""

from __future__ import annotations

import os
import time

from runjail.container.sync import SyncSocket
from runjail.host.base import ANSWER_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import Host

SIGKILL = 9
END_SECONDS = 10.0  # until a killed process is gone; a frozen one stays
PAUSE = 0.001


class Joining:
    """Our child. pid: its number on the host; once it has appeared inside it may be another process than was forked."""

    def __init__(self, pid: int, link: SyncSocket) -> None:
        self.pid, self.link = pid, link
        self._forked = 0

    def expect(self, word: str, known: Callable[[int], None] = lambda pid: None) -> None:
        """Wait for a word. Raises what the process reports, NoAnswer when nothing comes.

        known: called with the pid when that changes; the process goes on when it returns.
        """
        message = self.link.expect("inside", word, seconds=ANSWER_SECONDS)
        if "inside" in message:
            self._forked, self.pid = self.pid, message["inside"]
            known(self.pid)
            self.link.send(known=True)
            self.link.expect(word, seconds=ANSWER_SECONDS)
            if _collected(self._forked):
                self._forked = 0

    def end(self) -> None:
        """Kill it, whatever keeps it from answering, and collect it."""
        self.link.close()
        for pid in filter(None, (self._forked, self.pid)):
            os.kill(pid, SIGKILL)
            _collected(pid)


def appear(host: Host, link: SyncSocket) -> None:
    """*child* Appear inside, and go on once our parent knows which process that is."""
    if host.appear(lambda pid: link.send(inside=pid)):
        link.expect("known")


def _collected(pid: int) -> bool:
    """Collect a child that has ended or will at once; a frozen one is left to whoever is parent after us."""
    deadline = time.monotonic() + END_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True
