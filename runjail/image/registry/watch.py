"""An end for every wait at a socket: Python's time-outs count anew with every byte that arrives."""

from __future__ import annotations

import socket
import threading
import time
from typing import Self

TICK = 0.1  # seconds between two looks: how much later than asked for a wait may end


class Watch:
    """Looks after the sockets of one client with one thread, which runs from the first of them until `close`."""

    def __init__(self) -> None:
        self._limits: set[Limit] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def limit(self, sock: socket.socket, seconds: float) -> Limit:
        """Return a context that may take so long; then the socket is shut down, so that whoever reads it wakes up."""
        return Limit(self, sock, seconds)

    def add(self, limit: Limit) -> None:
        """Watch one more."""
        with self._lock:
            self._limits.add(limit)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()

    def remove(self, limit: Limit) -> None:
        """Watch it no longer."""
        with self._lock:
            self._limits.discard(limit)

    def _look(self) -> None:
        while not self._closed.wait(TICK):
            now = time.monotonic()
            with self._lock:
                over = [limit for limit in self._limits if limit.end <= now]
                self._limits.difference_update(over)
                for limit in over:
                    limit.give_up()

    def close(self) -> None:
        """End the thread, so that nobody forks beside it; what is being waited for is shut down."""
        self._closed.set()
        with self._lock:
            for limit in self._limits:
                limit.give_up()
            self._limits.clear()
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join()


class Limit:
    """A time in which something has to be done. late: it was not."""

    def __init__(self, watch: Watch, sock: socket.socket, seconds: float) -> None:
        self._watch, self._sock, self._seconds, self.end, self.late = watch, sock, seconds, 0.0, False

    def __enter__(self) -> Self:
        self.end = time.monotonic() + self._seconds
        self._watch.add(self)
        return self

    def __exit__(self, *_raised: object) -> None:
        self._watch.remove(self)

    def give_up(self) -> None:
        """Shut the socket down."""
        self.late = True
        try:
            self._sock.shutdown(2)  # SHUT_RDWR
        except OSError:  # it ended by itself
            pass
