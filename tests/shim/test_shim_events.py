"""Events on their way to a containerd that may be away."""

import _socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.shim import events, messages, ttrpc
from runjail.shim.events import Publisher
from runjail.shim.loop import Loop
from tests.support.shim.turns import turn


class Taker:
    """containerd's side: takes events, refuses them, or breaks the connection."""

    made: "list[Taker]" = []

    def __init__(self, loop: Loop, path: Path) -> None:
        self.made.append(self)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(5)
        self.server = ttrpc.Server(loop, listener, self.serve)
        self.taken: list[dict[str, Any]] = []
        self.refusing = self.breaking = 0

    def serve(self, service: str, method: str, payload: bytes, answer: Any, refuse: Any, _wanted: Any) -> None:
        """Take an event, or not."""
        assert (service, method) == ("containerd.services.events.ttrpc.v1.Events", "Forward")
        if self.breaking:
            self.breaking -= 1
            for client in list(self.server.clients):
                client.close()
            return
        if self.refusing:
            self.refusing -= 1
            refuse(ttrpc.StatusError(ttrpc.INVALID, "no"))
            return
        self.taken.append(protobuf.decode(messages.FORWARD, payload)["envelope"])
        answer(b"")

    def close(self) -> None:
        """End."""
        for client in list(self.server.clients):
            client.close()
        self.server.loop.unwatch(self.server.listener.fileno())
        self.server.listener.close()

    @property
    def ids(self) -> list[str]:
        """Return the containers that were named, in order."""
        table = messages.EVENTS["/tasks/oom"][1]
        return [protobuf.decode(table, event["event"]["value"])["container_id"] for event in self.taken]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A loop; tries follow one another quickly."""
    monkeypatch.setattr(events, "PAUSES", (0.01, 0.02))
    made = Loop()
    yield made
    for taker in Taker.made:
        taker.close()
    Taker.made.clear()
    monkeypatch.setattr(events, "PAUSES", (1000.0,))
    turn(made)  # publishers see that their connection is gone


def say(publisher: Publisher, *ids: str) -> None:
    """Publish an event for each container."""
    for id in ids:
        publisher.publish("/tasks/oom", {"container_id": id})


def test_events_come_in_order(loop: Loop, tmp_path: Path) -> None:
    taker = Taker(loop, tmp_path / "s")
    publisher = Publisher(loop, str(tmp_path / "s"), "ns")
    say(publisher, "a", "b", "c")
    assert not publisher.idle
    turn(loop, lambda: publisher.idle)

    assert publisher.idle
    assert taker.ids == ["a", "b", "c"]
    assert {(event["namespace"], event["topic"]) for event in taker.taken} == {("ns", "/tasks/oom")}
    assert taker.taken[0]["event"]["type_url"] == "containerd.events.TaskOOM"
    assert taker.taken[0]["timestamp"]["seconds"] > 1_600_000_000


def test_events_wait_for_containerd(loop: Loop, tmp_path: Path) -> None:
    """What happens while it is away is told when it is back."""
    publisher = Publisher(loop, f"unix://{tmp_path}/s", "ns")
    say(publisher, "a", "b")
    turn(loop)
    taker = Taker(loop, tmp_path / "s")
    turn(loop, lambda: publisher.idle)
    say(publisher, "c")
    turn(loop, lambda: publisher.idle)

    assert taker.ids == ["a", "b", "c"]


def test_a_connection_that_breaks(loop: Loop, tmp_path: Path) -> None:
    """The event that was not answered is sent again."""
    taker = Taker(loop, tmp_path / "s")
    taker.breaking = 2
    publisher = Publisher(loop, str(tmp_path / "s"), "ns")
    say(publisher, "a", "b")
    turn(loop, lambda: publisher.idle)

    assert taker.ids == ["a", "b"]


def test_what_containerd_refuses(loop: Loop, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is not sent again, and does not hold up the next."""
    taker = Taker(loop, tmp_path / "s")
    taker.refusing = 1
    publisher = Publisher(loop, str(tmp_path / "s"), "ns")
    say(publisher, "a", "b")
    turn(loop, lambda: publisher.idle)

    assert taker.ids == ["b"]
    assert "an event was refused: no" in capfd.readouterr().err


def test_too_many_events(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A containerd that never comes back does not fill the memory: the newest are kept."""
    monkeypatch.setattr(events, "MOST", 3)
    publisher = Publisher(loop, str(tmp_path / "s"), "ns")
    say(publisher, *"abcdef")
    taker = Taker(loop, tmp_path / "s")
    turn(loop, lambda: publisher.idle)

    assert len(taker.ids) == 3
    assert taker.ids[-1] == "f"
