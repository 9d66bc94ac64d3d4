"""Who is attached to a container, without one: test_story_attach.py has some."""

import errno
import os
import select
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runjail.container import attached


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A socket's name, relative: paths of tests are long."""
    monkeypatch.chdir(tmp_path)
    return "attach"


def test_who_cannot_be_taken_in_is_not_asked_for_all_the_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors the listener stays ready: poll(2) would return at once, for ever."""
    listener, poll = socket.socket(socket.AF_UNIX), select.poll()
    listener.bind(place)
    listener.listen(1)
    now = [100.0]
    monkeypatch.setattr(attached, "time", SimpleNamespace(monotonic=lambda: now[0]))
    number = listener.detach()
    found = attached.Attached(poll, number, -1, False)
    client = socket.socket(socket.AF_UNIX)
    client.connect(place)
    real: Any = found._listener

    def no_room() -> None:
        raise OSError(errno.EMFILE, "too many")

    found._listener = SimpleNamespace(fileno=lambda: number, _accept=no_room)  # type: ignore[assignment]
    try:
        assert [ready for ready, _ in poll.poll(5000)] == [number]
        assert found.handle(number, select.POLLIN)

        assert poll.poll(0) == []
        assert found.patience(-1) == pytest.approx(attached.ACCEPT_PAUSE)
        assert found.patience(0.1) == pytest.approx(0.1)

        now[0] += attached.ACCEPT_PAUSE
        found._listener = real
        assert found.patience(-1) == -1
        assert [ready for ready, _ in poll.poll(5000)] == [number]
        assert found.handle(number, select.POLLIN)
        found.show("stdout", b"now")
        assert client.recv(100) == attached.frame(b"o", b"now")
    finally:
        found._listener = real
        found.close()
        client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
