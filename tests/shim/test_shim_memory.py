"""Processes that are killed for want of memory: containerd hears of each, whoever it was."""

import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.shim.fake_shim import Shim
from tests.support.shim.turns import turn


class Watch:
    """Tells of kills when the test says so; refused: it cannot be had."""

    events = select.POLLIN

    def __init__(self, before: int = 0) -> None:
        self.descriptor, self._other = os.pipe()
        self.count, self.open = before, True

    def happen(self, count: int = 1) -> None:
        """Tell of kills; count: how many are counted by then."""
        self.count += count
        os.write(self._other, b"x")

    def acknowledge(self) -> None:
        """Read the notification."""
        os.read(self.descriptor, 1)

    def kills(self) -> int:
        """Return how many there were."""
        return self.count

    def close(self) -> None:
        """Watch no more."""
        os.close(self.descriptor)
        os.close(self._other)
        self.open = False


def create(shim: Shim, watch: Watch | OSError) -> list[Any]:
    """Create the container `web` in a group that can be watched. Returns the answer."""

    def watch_ooms(path: str) -> Watch:
        assert path == "/group"
        if isinstance(watch, OSError):
            raise watch
        return watch

    shim.shim_host.watch_ooms = watch_ooms  # type: ignore[attr-defined]
    asked = shim.ask("Create", bundle=str(shim.directory))
    shim.workers.finish(pid=100, copier=0, terminal=-1, private=True, ooms="/group", made=[1, "then"])
    return asked


def run(shim: Shim, done: Callable[[], object] = lambda: True) -> None:
    """Let the loop run until there is nothing to do and `done` holds."""
    turn(shim.containers.loop, done)


def test_a_child_that_nobody_knows(shim: Shim) -> None:
    """It is no process of containerd's, and its parent lives on."""
    watch = Watch()
    create(shim, watch)
    shim.ask("Start")
    shim.workers.finish()
    watch.happen()
    run(shim)
    watch.happen()
    run(shim)
    assert shim.events.topics == ["create", "start", "oom", "oom"]
    shim.containers.on_exit(100, 0)
    shim.ask("Delete")
    shim.workers.finish()

    assert shim.events.topics == ["create", "start", "oom", "oom", "exit", "delete"]
    assert not watch.open


def test_it_is_counted_after_it_was_told(shim: Shim) -> None:
    """v1 tells before it has chosen whom to kill; nobody may end in between who could make us look again."""
    watch = Watch()
    create(shim, watch)
    before: list[list[str]] = []

    def count() -> None:
        before.append(shim.events.topics)
        watch.count += 1

    watch.happen(0)
    shim.containers.loop.later(0, count)  # after what is ready, and before what is set then
    run(shim, lambda: "oom" in shim.events.topics)

    assert (before, shim.events.topics) == ([["create"]], ["create", "oom"])


def test_it_comes_before_the_end(shim: Shim) -> None:
    """Also when the loop hears of the end first, and once for each time that it looks."""
    watch = Watch(before=7)
    create(shim, watch)
    shim.ask("Start")
    shim.workers.finish()
    shim.exec(200, "a")
    watch.happen()
    shim.containers.on_exit(200, 9)
    shim.containers.on_exit(100, 0)
    run(shim)

    assert shim.events.topics[-3:] == ["oom", "exit", "exit"]
    shim.containers.forget(shim.containers.tasks["web"])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_group_that_cannot_be_watched(shim: Shim) -> None:
    """Out of descriptors: the container runs all the same."""
    assert create(shim, OSError(24, "Too many open files")) == [{"pid": 100}]
    assert shim.containers.tasks["web"].ooms is None
