"""The process that a verb sends into a container, followed from the fork to where it is inside.

The container's processes see it there and may stop it, so no wait for it is without end.
"""

from __future__ import annotations

import os
import time

from runjail.container.container import Container
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
    """Our child. pid: its number on the host; once it has appeared inside it may be another process than was forked.

    container, status: of what it joins, for who listens to its seccomp filter.
    """

    def __init__(self, pid: int, link: SyncSocket, container: Container, status: str) -> None:
        self.pid, self.link = pid, link
        self._container, self._status = container, status
        self._forked = 0

    def expect(self, word: str, known: Callable[[int], None] = lambda pid: None) -> None:
        """Wait for a word. Raises what the process reports, NoAnswer when nothing comes.

        known: called with the pid when that changes; the process goes on when it returns.
        """
        message = self.link.expect("listened", "inside", word, seconds=ANSWER_SECONDS)
        if "listened" in message:
            self._expect_listened(message["listened"], word, known)
        elif "inside" in message:
            self._follow(message["inside"], known)
            self._go_on(word)

    def _expect_listened(self, number: int, word: str, known: Callable[[int], None]) -> None:
        """Wait for a word, and have the listening end passed on: it tells which process the program will be.

        That is known once it is inside. Where the process waits for an answer before, its number of then is told.
        """
        from runjail.container.listener import ListeningEnd

        with ListeningEnd(self._container, self.pid, number, self._status) as listening:
            self.link.send(known=True)
            if listening.is_asked(self.link.fileno()):
                listening.pass_on(self.pid)
            message = self.link.expect("inside", word, seconds=ANSWER_SECONDS)
            if "inside" in message:
                self._follow(message["inside"], known)
            listening.pass_on(self.pid)
        if "inside" in message:
            self._go_on(word)

    def _follow(self, pid: int, known: Callable[[int], None]) -> None:
        self._forked, self.pid = self.pid, pid
        known(pid)

    def _go_on(self, word: str) -> None:
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


def hand_over(host: Host, link: SyncSocket) -> None:
    """*child* Have our parent told of the listening end of the seccomp filter, as soon as there is one.

    The filter holds already: write(2) is the one call that nobody may listen to, as with runc.
    """

    def tell(descriptor: int) -> None:
        os.write(link.fileno(), b'{"listened":%d}\n' % descriptor)
        link.expect("known")
        os.close(descriptor)

    host.on_listener(tell)


def appear(host: Host, link: SyncSocket) -> None:
    """*child* Appear inside, and go on once our parent knows which process that is."""
    if host.appear(lambda pid: link.send(inside=pid)):
        link.expect("known")


def _collected(pid: int) -> bool:
    """Collect a child that has ended or is about to; a frozen one is left to our parent or init, its next parent."""
    deadline = time.monotonic() + END_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True
