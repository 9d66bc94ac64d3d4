"""Lines of JSON between a verb and the process it forked, over a socket pair or the gate.

A dead peer is an end-of-file; where it may be stopped, the wait has a limit. `_socket` is the C half of socket,
without the enums that cost 5 ms.
"""

from __future__ import annotations

import _socket
import time
from _struct import pack

from runjail import errors, jsonio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE = 16 << 20  # a state document with its annotations; config.json itself is at most 4 MiB


class SyncSocket:
    """One end of a connection."""

    def __init__(self, connection: _socket.socket) -> None:
        self.connection = connection
        self._pending = b""

    def fileno(self) -> int:
        """Return the descriptor, to keep it open."""
        return self.connection.fileno()

    def send(self, **message: Any) -> None:
        """Send one message. A peer that is gone is noticed by the next receive, not here."""
        data = jsonio.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[self.connection.send(data) :]
        except OSError:
            pass

    def receive(self, seconds: float = 0) -> dict[str, Any] | None:
        """Return the next message, None at end-of-file. Raises NoAnswer after `seconds`, 0 for no limit."""
        end = time.monotonic() + seconds
        while b"\n" not in self._pending:
            try:
                self.connection.settimeout(max(end - time.monotonic(), 0.001) if seconds else None)
                block = self.connection.recv(1 << 16)
            except TimeoutError:
                raise errors.NoAnswer(seconds) from None
            except ConnectionResetError:
                block = b""
            if not block or len(self._pending) > MAX_MESSAGE:
                return None
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = jsonio.loads(line)
        return message

    def expect(self, *words: str, seconds: float = 0) -> dict[str, Any]:
        """Return the next message, which must carry one of the words.

        Raises what the peer reports, DiedEarly when it died without a word, NoAnswer as receive does.
        """
        message = self.receive(seconds)
        if message is None:
            raise errors.DiedEarly
        if "error" in message:
            raise error_from_message(message)
        if not set(words) & message.keys():
            raise errors.HostError(f"unexpected answer from the container's process: {sorted(message)}")
        return message

    def report(self, error: BaseException) -> None:
        """Send an error for the peer to raise."""
        kind, text, hint = errors.described(error)
        self.send(error=kind, text=text, hint=hint)

    def close(self) -> None:
        """Close this end."""
        self.connection.close()


def error_from_message(message: dict[str, Any]) -> errors.RunjailError:
    """Turn a reported error back into one of our classes, with its text as it was."""
    return errors.restored(str(message["error"]), message["text"], message.get("hint"))


def patient(seconds: float) -> _socket.socket:
    """Return a socket whose connect(2) raises BlockingIOError after a while, in whole seconds.

    A stopped process accepts nobody. Whom its queue has no room for waits on Linux, and is refused on FreeBSD.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, pack("ll", int(seconds), 0))
    return connection


def pair() -> tuple[SyncSocket, SyncSocket]:
    """Return two connected ends."""
    first, second = _socket.socketpair()
    return SyncSocket(first), SyncSocket(second)
