"""ttRPC: requests and responses in frames over a Unix socket (containerd/ttrpc, PROTOCOL.md).

A frame is a header of ten bytes - length, stream, type, flags - and a message. Requests of one connection are answered
in any order: `Wait` takes as long as the container lives. Streams are not needed by the services we serve.
"""

import _socket
import os
import struct

from runjail import log
from runjail.errors import reason
from runjail.shim import messages, wire
from runjail.shim.loop import ENDED, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.shim.loop import Loop
    from runjail.shim.wire import Message

    Answer = Callable[[bytes], None]
    Refuse = Callable[["Failure"], None]
    Serve = Callable[[str, str, bytes, Answer, Refuse], None]

HEADER = struct.Struct(">IIBB")
LARGEST = 4 << 20
REQUEST, RESPONSE = 1, 2
UNKNOWN, INVALID, NOT_FOUND, EXISTS, EXHAUSTED, PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = (
    *(2, 3, 5, 6, 8, 9, 12, 13, 14),
)
NAMESPACE = "containerd-namespace-ttrpc"  # metadata


class Failure(Exception):
    """A status other than OK: google.rpc.Code and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Connection:
    """One end of a connection: frames in and out, without ever blocking.

    on_frame: called with (stream, type, data); on_end: called once when the peer is gone. `oversize` is called with
    the stream of a frame that is too long, which is read and dropped.
    """

    def __init__(self, loop: "Loop", connection: "_socket.socket") -> None:
        self.loop, self._socket = loop, connection
        self._in, self._out = bytearray(), bytearray()
        self._skip = 0
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

    def close(self) -> None:
        """Close, without on_end."""
        if self.open:
            self.open = False
            self.loop.unwatch(self._socket.fileno())
            self._socket.close()

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
            self._split()
        if events & WRITE and self.open:
            self._flush()

    def _split(self) -> None:
        while self.open:
            dropped = min(self._skip, len(self._in))
            del self._in[:dropped]
            self._skip -= dropped
            if self._skip or len(self._in) < HEADER.size:
                return
            length, stream, kind, _flags = HEADER.unpack_from(self._in)
            if length > LARGEST:
                self._skip = HEADER.size + length
                self.on_oversize(stream)
                continue
            if len(self._in) < HEADER.size + length:
                return
            data = bytes(self._in[HEADER.size : HEADER.size + length])
            del self._in[: HEADER.size + length]
            self.on_frame(stream, kind, data)


class _Client(Connection):
    """A client of our server."""

    def __init__(self, loop: "Loop", connection: "_socket.socket", server: "Server") -> None:
        self.server = server
        self._last = 0
        super().__init__(loop, connection)

    def on_frame(self, stream: int, kind: int, data: bytes) -> None:
        """Serve a request. Streams of clients are odd, and never used twice."""
        if kind != REQUEST:
            return
        refuse = self._refuser(stream)
        if not stream & 1 or stream <= self._last:
            refuse(Failure(INVALID, f"stream {stream}: not odd, or used before"))
            return
        self._last = stream
        try:
            request = wire.decode(messages.REQUEST, data)
            self.server.serve(request["service"], request["method"], request["payload"], self._answerer(stream), refuse)
        except ValueError as error:
            refuse(Failure(INVALID, f"malformed request: {error}"))

    def on_oversize(self, stream: int) -> None:
        """Refuse what is too long."""
        self._refuser(stream)(Failure(EXHAUSTED, f"message is longer than {LARGEST} bytes"))

    def on_end(self) -> None:
        """Forget this client; containers live on."""
        self.server.clients.discard(self)

    def _answerer(self, stream: int) -> "Answer":
        return lambda payload: self._respond(stream, {"payload": payload})

    def _refuser(self, stream: int) -> "Refuse":
        return lambda failure: self._respond(stream, {"status": {"code": failure.code, "message": str(failure)}})

    def _respond(self, stream: int, response: "Message") -> None:
        data = wire.encode(messages.RESPONSE, response)
        if len(data) > LARGEST:
            data = wire.encode(messages.RESPONSE, {"status": {"code": EXHAUSTED, "message": "the answer is too long"}})
        self.send(stream, RESPONSE, data)


class Server:
    """Accepts connections and hands requests to `serve(service, method, payload, answer, refuse)`.

    Exactly one of answer and refuse is to be called, now or later.
    """

    def __init__(self, loop: "Loop", listener: "_socket.socket", serve: "Serve") -> None:
        self.loop, self.listener, self.serve = loop, listener, serve
        self.clients: set[_Client] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            descriptor, _ = self.listener._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls
        except OSError as error:  # the client is gone again, or we are out of descriptors
            log.warning(f"shim: accept: {reason(error)}")
            return
        os.set_inheritable(descriptor, False)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        self.clients.add(_Client(self.loop, connection, self))


class Caller(Connection):
    """A connection to another server. `lost` is called with all unanswered calls failed, once the peer is gone."""

    def __init__(self, loop: "Loop", address: str, lost: "Callable[[], None]" = lambda: None) -> None:
        """Connect to a path. Raises OSError."""
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        self.lost = lost
        self._stream = -1
        self._calls: dict[int, Callable[[Failure | None, bytes], None]] = {}
        super().__init__(loop, connection)

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        done: "Callable[[Failure | None, bytes], None]",
        namespace: str = "",
        seconds: float = 5.0,
    ) -> None:
        """Call a method; done(failure, payload) is called with what comes of it."""
        self._stream += 2
        self._calls[self._stream] = done
        request = {"service": service, "method": method, "payload": payload, "timeout_nano": int(seconds * 1e9)}
        if namespace:
            request["metadata"] = [{"key": NAMESPACE, "value": namespace}]
        self.send(self._stream, REQUEST, wire.encode(messages.REQUEST, request))

    def on_frame(self, stream: int, kind: int, data: bytes) -> None:
        """Take a response."""
        done = self._calls.pop(stream, None) if kind == RESPONSE else None
        if not done:
            return
        try:
            response = wire.decode(messages.RESPONSE, data)
        except ValueError as error:
            done(Failure(INTERNAL, f"malformed response: {error}"), b"")
            return
        status = response["status"]
        done(Failure(status["code"], status["message"]) if status and status["code"] else None, response["payload"])

    def on_end(self) -> None:
        """Fail what was not answered."""
        calls, self._calls = self._calls, {}
        for done in calls.values():
            done(Failure(UNAVAILABLE, "the connection is gone"), b"")
        self.lost()
