"""A client that speaks frames, and a server whose answers the test decides."""

import _socket
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runjail import protobuf
from runjail.shim import frames, messages, ttrpc
from runjail.shim.loop import Loop
from tests.support.shim.turns import turn


class Peer:
    """A client that speaks frames by itself, and a server whose answers the test decides."""

    def __init__(self, directory: Any) -> None:
        self.loop = Loop()
        self.path = str(directory / "s")
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(5)
        self.asked: list[tuple[str, str, bytes]] = []
        self.answers: list[tuple[Callable[[bytes], None], Callable[[ttrpc.StatusError], None]]] = []
        self.server = ttrpc.Server(self.loop, listener, self.serve)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.path)
        self.turn()

    def serve(self, service: str, method: str, payload: bytes, answer: Any, refuse: Any, wanted: Any) -> None:
        """Note a request."""
        self.asked.append((service, method, payload))
        self.answers.append((answer, refuse))

    def turn(self) -> None:
        """Let the server work until there is nothing to do."""
        turn(self.loop)

    def until(self, done: Callable[[], object]) -> None:
        """Let the server work until something has happened."""
        end = time.monotonic() + 60
        while not done():
            assert time.monotonic() < end
            self.turn()

    def send(self, stream: int, data: bytes, kind: int = ttrpc.REQUEST) -> None:
        """Send a frame."""
        self.socket.sendall(frames.HEADER.pack(len(data), stream, kind, 0) + data)

    def request(self, stream: int, method: str, payload: bytes = b"") -> None:
        """Send a request."""
        self.send(stream, protobuf.encode(messages.REQUEST, {"service": "s", "method": method, "payload": payload}))

    def receive(self) -> tuple[int, dict[str, Any]]:
        """Return stream and content of one response."""
        self.socket.settimeout(120)
        length, stream, kind, flags = frames.HEADER.unpack(self.exactly(frames.HEADER.size))
        assert (kind, flags) == (ttrpc.RESPONSE, 0)
        return stream, protobuf.decode(messages.RESPONSE, self.exactly(length))

    def exactly(self, count: int) -> bytes:
        """Return that many bytes."""
        data = b""
        while len(data) < count:
            block = self.socket.recv(count - len(data))
            assert block, "closed"
            data += block
        return data


@pytest.fixture
def peer(tmp_path: Any) -> Iterator[Peer]:
    made = Peer(tmp_path)
    yield made
    made.socket.close()
    made.turn()
    made.server.listener.close()
