"""Frames of ttRPC over a Unix socket: a header of ten bytes and a message.

The header has length, stream, type and flags. What a peer does or leaves never blocks us and never grows in us without
bound.
"""

from __future__ import annotations

import struct
import time

from runjail import log
from runjail.shim.loop import ENDED, READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

HEADER = struct.Struct(">IIBB")
LARGEST = 4 << 20
MOST_UNREAD = 4 * LARGEST  # bytes that are kept for a peer that does not read
FRAME_SECONDS = 30.0  # from a frame's first byte to its last


class Connection:
    """One end of a connection: frames in and out, without ever blocking.

    on_frame: called with (stream, type, data); on_end: called once when the peer is gone. on_oversize: called with
    the stream of a frame that is too long, which is read and dropped. A peer that begins a frame and does not end it,
    or does not read, is one that is gone; between frames it may take its time.
    """

    def __init__(self, loop: Loop, connection: _socket.socket) -> None:
        self.loop, self._socket = loop, connection
        self._in, self._out = bytearray(), bytearray()
        self._skip = 0
        self._begun = 0.0  # when the incomplete frame began, 0 for none
        self._timed = False
        self.open = True
        connection.setblocking(False)
        loop.watch(connection.fileno(), READ, self._ready)

    def on_frame(self, stream: int, kind: int, data: bytes) -> None:
        """Take a frame."""

    def on_oversize(self, stream: int) -> None:
        """Hear of a frame that was dropped."""

    def on_end(self) -> None:
        """Hear that the connection is gone."""

    def send(self, stream: int, kind: int, data: bytes) -> None:
        """Send a frame now, or as soon as the peer reads."""
        if self.open:
            self._out += HEADER.pack(len(data), stream, kind, 0) + data
            self._flush()
        if self.open and len(self._out) > MOST_UNREAD:
            log.warning(f"shim: a client does not read its answers: {MOST_UNREAD >> 20} MiB wait for it")
            self._end()

    def close(self) -> None:
        """Close, without on_end."""
        if self.open:
            self.open = False
            self.loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._in, self._out = bytearray(), bytearray()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._end()
            return
        self.loop.watch(self._socket.fileno(), READ | WRITE if self._out else READ, self._ready)

    def _end(self) -> None:
        self.close()
        self.on_end()

    def _ready(self, events: int) -> None:
        if events & (READ | ENDED):
            try:
                block = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                block = b""
            if not block:
                self._end()
                return
            self._in += block
            self._note_incomplete(self._split())
        if events & WRITE and self.open:
            self._flush()

    def _note_incomplete(self, complete: int) -> None:
        """Give the frame that has only begun, after some complete ones, its time."""
        if not (self._in or self._skip):
            self._begun = 0.0
        elif complete or not self._begun:
            self._begun = time.monotonic()
        if self._begun and not self._timed and self.open:
            self._timed = True
            self.loop.later(FRAME_SECONDS, self._look_at_frame)

    def _look_at_frame(self) -> None:
        self._timed = False
        if not (self.open and self._begun):
            return
        left = self._begun + FRAME_SECONDS - time.monotonic()
        if left > 0:
            self._timed = True
            self.loop.later(left, self._look_at_frame)
        else:
            log.warning(f"shim: a message is not complete after {FRAME_SECONDS:g} s: its connection is closed")
            self._end()

    def _split(self) -> int:
        """Hand over the complete frames. Returns how many there were."""
        complete = 0
        while self.open:
            dropped = min(self._skip, len(self._in))
            del self._in[:dropped]
            self._skip -= dropped
            if self._skip or len(self._in) < HEADER.size:
                return complete
            length, stream, kind, _flags = HEADER.unpack_from(self._in)
            if length > LARGEST:
                self._skip = HEADER.size + length
                self.on_oversize(stream)
                continue
            if len(self._in) < HEADER.size + length:
                return complete
            data = bytes(self._in[HEADER.size : HEADER.size + length])
            del self._in[: HEADER.size + length]
            complete += 1
            self.on_frame(stream, kind, data)
        return complete
