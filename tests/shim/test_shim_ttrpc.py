"""Frames and requests over a socket pair."""

import socket
from typing import Any

import pytest

from runjail import protobuf
from runjail.shim import frames, messages, ttrpc
from tests.support.shim.peer import Peer


def test_answers_in_any_order(peer: Peer) -> None:
    peer.request(1, "Slow", b"one")
    peer.request(3, "Fast", b"two")
    peer.turn()
    assert peer.asked == [("s", "Slow", b"one"), ("s", "Fast", b"two")]
    peer.answers[1][0](b"second")
    peer.answers[0][0](b"first")

    assert [(stream, said["payload"]) for stream, said in (peer.receive(), peer.receive())] == [
        (3, b"second"),
        (1, b"first"),
    ]


def test_refusals(peer: Peer) -> None:
    peer.request(1, "M")
    peer.turn()
    peer.answers[0][1](ttrpc.StatusError(ttrpc.NOT_FOUND, "gone"))

    stream, said = peer.receive()
    assert (stream, said["status"]["code"], said["status"]["message"]) == (1, 5, "gone")


@pytest.mark.parametrize("streams", [(2,), (3, 3), (5, 1)], ids=["even", "twice", "back"])
def test_streams_are_odd_and_rise(peer: Peer, streams: tuple[int, ...]) -> None:
    for stream in streams:
        peer.request(stream, "M")
    peer.turn()

    stream, said = peer.receive()
    assert (stream, said["status"]["code"]) == (streams[-1], ttrpc.INVALID)
    assert len(peer.asked) == len(streams) - 1


def test_a_frame_in_pieces(peer: Peer) -> None:
    data = protobuf.encode(messages.REQUEST, {"service": "s", "method": "M", "payload": b"x" * 300})
    frame = frames.HEADER.pack(len(data), 1, ttrpc.REQUEST, 0) + data
    for at in range(0, len(frame), 100):
        peer.socket.sendall(frame[at : at + 100])
        peer.turn()

    assert peer.asked == [("s", "M", b"x" * 300)]


def test_a_frame_that_is_too_long(peer: Peer) -> None:
    """It is read, dropped and refused; the connection goes on."""
    peer.socket.sendall(frames.HEADER.pack(frames.LARGEST + 1, 1, ttrpc.REQUEST, 0))
    left = frames.LARGEST + 1
    peer.socket.setblocking(False)
    while left:
        try:
            left -= peer.socket.send(bytes(min(left, 1 << 18)))
        except BlockingIOError:
            peer.turn()
    peer.request(3, "M")
    peer.turn()

    stream, said = peer.receive()
    assert (stream, said["status"]["code"]) == (1, ttrpc.EXHAUSTED)
    assert len(peer.asked) == 1


def test_an_answer_that_is_too_long(peer: Peer) -> None:
    peer.request(1, "M")
    peer.turn()
    peer.answers[0][0](bytes(frames.LARGEST + 1))

    assert peer.receive()[1]["status"]["code"] == ttrpc.EXHAUSTED


def test_garbage_in_a_frame(peer: Peer) -> None:
    peer.send(1, b"\xff\xff\xff")
    peer.turn()

    assert peer.receive()[1]["status"]["code"] == ttrpc.INVALID
    assert peer.asked == []


def test_a_client_that_goes_away(peer: Peer) -> None:
    """Its answer goes nowhere, and the server goes on."""
    peer.request(1, "M")
    peer.turn()
    peer.socket.close()
    peer.turn()
    peer.answers[0][0](b"nobody reads this")

    assert peer.server.clients == set()
    peer.socket = socket.socket(socket.AF_UNIX)
    peer.socket.connect(peer.path)
    peer.request(1, "Again")
    peer.turn()
    assert peer.asked[-1][1] == "Again"


def test_a_slow_reader_stops_nobody(peer: Peer) -> None:
    """What does not fit into the socket is kept until there is room."""
    for number in range(8):
        peer.request(2 * number + 1, "M")
    peer.turn()
    for answer, _refuse in peer.answers:
        answer(bytes(1 << 20))
    received: list[int] = []
    while len(received) < 8:
        peer.loop.later(0, lambda: setattr(peer.loop, "ending", True))
        peer.loop.ending = False
        peer.loop.run()
        received += _frames(peer)

    assert received == [1 << 20] * 8


def _frames(peer: Peer) -> list[int]:
    """Read what is there; returns the payload sizes of complete frames."""
    peer.socket.setblocking(False)
    buffer: bytearray = peer.__dict__.setdefault("buffer", bytearray())
    try:
        while block := peer.socket.recv(1 << 16):
            buffer += block
    except BlockingIOError:
        pass
    sizes = []
    while len(buffer) >= frames.HEADER.size:
        length = frames.HEADER.unpack_from(buffer)[0]
        if len(buffer) < frames.HEADER.size + length:
            break
        sizes.append(len(protobuf.decode(messages.RESPONSE, bytes(buffer[frames.HEADER.size :][:length]))["payload"]))
        del buffer[: frames.HEADER.size + length]
    return sizes


def test_our_own_client(peer: Peer) -> None:
    """Client and Server understand each other; a lost connection fails what was not answered."""
    done: list[Any] = []
    caller = ttrpc.Client(peer.loop, peer.path)
    caller.call("s", "One", b"1", lambda *answer: done.append(answer), "ns")
    caller.call("s", "Two", b"2", lambda *answer: done.append(answer))
    peer.until(lambda: len(peer.answers) == 2)
    peer.answers[0][0](b"yes")
    peer.until(lambda: done)
    assert done == [(None, b"yes")]
    for client in list(peer.server.clients):
        client.close()
    peer.until(lambda: len(done) == 2)

    assert done[1][0].code == ttrpc.UNAVAILABLE
    assert not caller.open
