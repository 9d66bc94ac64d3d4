"""What is said at the gate, with an init that is a thread of ours."""

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from runjail.container import gate
from runjail.container.sync import SyncSocket, patient
from runjail.errors import HostError
from runjail.host.base import WorkingDirectory


class Place:
    """As much of a container as the gate needs: a directory, and a lock that nobody else wants."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def directory(self) -> str:
        """Return where the gate is."""
        return str(self.path)

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of nothing."""


def come(place: Place, words: bytes) -> socket.socket:
    """Connect by a short name, and say something."""
    visitor = socket.socket(socket.AF_UNIX)
    with WorkingDirectory(place.directory()):
        visitor.connect("gate")
    visitor.sendall(words)
    return visitor


def test_an_init_of_an_earlier_version_is_not_started(tmp_path: Path) -> None:
    """It takes any word for the go-ahead."""
    place: Any = Place(tmp_path)
    listening, said = gate.listen(place), []

    def earlier() -> None:
        descriptor, _ = listening._accept()  # type: ignore[attr-defined]
        visitor = SyncSocket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor))
        said.append(visitor.receive())
        visitor.close()

    init = threading.Thread(target=earlier, daemon=True)
    init.start()
    with pytest.raises(HostError) as caught:
        gate.ask(place)
    init.join(60)
    listening.close()

    assert said == [None]
    assert "earlier versions" in str(caught.value)


@pytest.mark.linux
def test_who_says_nothing_is_handed_what_it_takes_and_who_says_go_ends_it(tmp_path: Path) -> None:
    """Whatever else is said changes nothing."""
    place: Any = Place(tmp_path)
    listening, own = gate.listen(place), os.open("/", os.O_RDONLY)
    ended = []
    init = threading.Thread(target=lambda: ended.append(gate.wait(listening, {"mnt": own})), daemon=True)
    init.start()
    for words in (b"5\n", b"x\n", b"[]\n", b'{"open":true}\n'):
        come(place, words).close()
    given = gate.ask(place)
    starter = come(place, b'{"go":true}\n')
    init.join(60)

    assert sorted(given) == ["mnt", "root"]
    assert {os.fstat(descriptor).st_ino for descriptor in given.values()} == {os.stat("/").st_ino}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(own)
    starter.close()
    ended[0].close()
    for descriptor in given.values():
        os.close(descriptor)


def test_nobody_waits_for_ever_at_the_gate_of_a_stopped_init(tmp_path: Path) -> None:
    """FreeBSD refuses at once who has no room in the queue."""
    listening = gate.listen(Place(tmp_path))  # type: ignore[arg-type]
    waiting = []
    with WorkingDirectory(str(tmp_path)), pytest.raises((BlockingIOError, ConnectionRefusedError)):
        for _ in range(9):
            waiting.append(patient(1))
            waiting[-1].connect("gate")
    for each in (*waiting, listening):
        each.close()
