"""The monitor of a container that runs detached, with none: test_story_logs.py and test_story_attach.py have some."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from runjail.container import monitor


def test_what_came_last_is_shown_before_clients_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by one that is not init's parent, and finds it gone while its last words wait to be read."""
    reading, writing = os.pipe()
    wake, other = os.pipe()
    seen: list[Any] = []
    attached = SimpleNamespace(
        show=lambda stream, block: seen.append((stream, block)),
        close=lambda: seen.append("closed"),
        stream_ended=lambda _number: None,
        handle=lambda _number, _event: False,
        patience=lambda seconds: seconds,
    )
    monkeypatch.setattr(monitor, "alive", lambda _container: False)
    monkeypatch.setattr(monitor, "attached_at", lambda _poll, _streams: attached)
    monkeypatch.setattr(monitor, "_wake_on_child", lambda: wake)
    container: Any = SimpleNamespace(host_state=SimpleNamespace(pid=os.getpid()))  # no child of ours
    os.write(writing, b"last words")
    os.close(writing)
    try:
        assert monitor._Watch(container, None, {"stdout": reading}).run() is None
    finally:
        os.close(wake)
        os.close(other)

    assert seen == [("stdout", b"last words"), "closed"]


def test_who_writes_on_does_not_keep_the_end_from_being_told() -> None:
    """A process that outlives init, in a jail or a pod: what it writes is read later."""
    watch: Any = SimpleNamespace(_streams={7: "stdout", 8: "stderr"})
    taken: list[int] = []
    watch._take = lambda number: taken.append(number) or True

    monitor._Watch._take_all(watch)

    assert [taken.count(number) for number in (7, 8)] == [monitor.LAST_BLOCKS] * 2
