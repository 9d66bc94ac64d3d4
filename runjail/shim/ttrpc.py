"""ttRPC: requests and responses in frames over a Unix socket (containerd/ttrpc, PROTOCOL.md).

Requests of one connection are answered in any order: `Wait` takes as long as the container lives. Streams are not
needed by the services we serve.
"""

from __future__ import annotations

import _socket
import errno
import os

from runjail import log, protobuf
from runjail.errors import reason
from runjail.shim import messages
from runjail.shim.frames import LARGEST, Connection
from runjail.shim.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.protobuf import Message

    Answer = Callable[[bytes], None]
    Refuse = Callable[["StatusError"], None]
    Serve = Callable[[str, str, bytes, Answer, Refuse, Callable[[], bool]], None]

MOST_PENDING = 1000  # requests of one client that wait for their answers
ACCEPT_PAUSE = 1.0  # seconds until we try again, out of descriptors or memory
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
REQUEST, RESPONSE = 1, 2
UNKNOWN, INVALID, NOT_FOUND, EXISTS, EXHAUSTED, PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = (
    *(2, 3, 5, 6, 8, 9, 12, 13, 14),
)
NAMESPACE = "containerd-namespace-ttrpc"  # metadata


class StatusError(Exception):
    """A status other than OK: google.rpc.Code and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _ServerConnection(Connection):
    """A client of our server."""

    def __init__(self, loop: Loop, connection: _socket.socket, server: Server) -> None:
        self.server = server
        self._last = 0
        self._pending = 0
        super().__init__(loop, connection)

    def on_frame(self, stream: int, kind: int, data: bytes) -> None:
        """Serve a request. Stream numbers of clients are odd, and never used twice."""
        if kind != REQUEST:
            return
        if not stream & 1 or stream <= self._last:
            self._refuse(stream, StatusError(INVALID, f"stream {stream}: not odd, or used before"))
            return
        self._last = stream
        if self._pending >= MOST_PENDING:
            self._refuse(stream, StatusError(EXHAUSTED, f"{MOST_PENDING} requests wait for their answers already"))
            return
        try:
            request = protobuf.decode(messages.REQUEST, data)
        except ValueError as error:
            self._refuse(stream, StatusError(INVALID, f"malformed request: {error}"))
            return
        self._pending += 1
        self.server.serve(
            request["service"],
            request["method"],
            request["payload"],
            lambda payload: self._finish(stream, {"payload": payload}),
            lambda failure: self._finish(stream, _status(failure)),
            lambda: self.open,
        )

    def on_oversize(self, stream: int) -> None:
        """Refuse what is too long."""
        self._refuse(stream, StatusError(EXHAUSTED, f"message is longer than {LARGEST} bytes"))

    def on_end(self) -> None:
        """Forget this client; containers live on."""
        self.server.forget(self)

    def _finish(self, stream: int, response: Message) -> None:
        self._pending -= 1
        self._respond(stream, response)

    def _refuse(self, stream: int, failure: StatusError) -> None:
        self._respond(stream, _status(failure))

    def _respond(self, stream: int, response: Message) -> None:
        data = protobuf.encode(messages.RESPONSE, response)
        if len(data) > LARGEST:
            data = protobuf.encode(
                messages.RESPONSE, {"status": {"code": EXHAUSTED, "message": "the answer is too long"}}
            )
        self.send(stream, RESPONSE, data)


def _status(failure: StatusError) -> Message:
    return {"status": {"code": failure.code, "message": str(failure)}}


class Server:
    """Accepts connections and hands requests to `serve(service, method, payload, answer, refuse, wanted)`.

    Exactly one of answer and refuse is to be called, now or later; wanted says whether the client is still there.
    trusted: says of a connection whether to serve it. most: connections at a time; more wait for one to end.
    """

    def __init__(
        self,
        loop: Loop,
        listener: _socket.socket,
        serve: Serve,
        trusted: Callable[[_socket.socket], bool] = lambda connection: True,
        most: int = 1000,
    ) -> None:
        self.loop, self.listener, self.serve, self._trusted, self._most = loop, listener, serve, trusted, most
        self.clients: set[_ServerConnection] = set()
        self._complained = False
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self.loop.watch(self.listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            descriptor, _ = self.listener._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls
        except OSError as error:  # the client is gone again, or there is no room for it
            if error.errno in SHORT:
                self._wait_for_room(error)
            return
        os.set_inheritable(descriptor, False)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        if not self._trusted(connection):
            log.warning("shim: a connection of another user is refused")
            connection.close()
            return
        self._complained = False
        self.clients.add(_ServerConnection(self.loop, connection, self))
        if len(self.clients) >= self._most:
            self.loop.unwatch(self.listener.fileno())

    def _wait_for_room(self, error: OSError) -> None:
        """Stop watching for a second: the listening socket stays ready, so poll(2) would return at once for ever."""
        if not self._complained:
            log.warning(f"shim: accept: {reason(error)}; trying again every {ACCEPT_PAUSE:g} s")
        self._complained = True
        self.loop.unwatch(self.listener.fileno())
        self.loop.later(ACCEPT_PAUSE, self._listen)

    def forget(self, client: _ServerConnection) -> None:
        """Let go of a client that is gone; there is room for another."""
        self.clients.discard(client)
        self._listen()


class Client(Connection):
    """A connection to another server. `lost` is called with all unanswered calls failed, once the peer is gone."""

    def __init__(self, loop: Loop, address: str, lost: Callable[[], None] = lambda: None) -> None:
        """Connect to a path. Raises OSError."""
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.setblocking(False)  # a full backlog is an error; somebody who was stopped would keep us
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        self.lost = lost
        self._stream = -1
        self._calls: dict[int, Callable[[StatusError | None, bytes], None]] = {}
        super().__init__(loop, connection)

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        done: Callable[[StatusError | None, bytes], None],
        namespace: str = "",
        seconds: float = 5.0,
    ) -> None:
        """Call a method; done(failure, payload) is called with what comes of it."""
        self._stream += 2
        self._calls[self._stream] = done
        request = {"service": service, "method": method, "payload": payload, "timeout_nano": int(seconds * 1e9)}
        if namespace:
            request["metadata"] = [{"key": NAMESPACE, "value": namespace}]
        self.send(self._stream, REQUEST, protobuf.encode(messages.REQUEST, request))

    def on_frame(self, stream: int, kind: int, data: bytes) -> None:
        """Take a response."""
        done = self._calls.pop(stream, None) if kind == RESPONSE else None
        if not done:
            return
        try:
            response = protobuf.decode(messages.RESPONSE, data)
        except ValueError as error:
            done(StatusError(INTERNAL, f"malformed response: {error}"), b"")
            return
        status = response["status"]
        done(StatusError(status["code"], status["message"]) if status and status["code"] else None, response["payload"])

    def on_end(self) -> None:
        """Fail what was not answered."""
        calls, self._calls = self._calls, {}
        for done in calls.values():
            done(StatusError(UNAVAILABLE, "the connection is gone"), b"")
        self.lost()
