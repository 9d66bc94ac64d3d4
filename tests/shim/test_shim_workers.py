"""The loop, and the children that do its work."""

import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runjail import errors
from runjail.shim.loop import READ, Loop
from runjail.shim.workers import Worker, Workers


class ShimHost:
    """Lets a worker live on."""

    def die_with_parent(self) -> None:
        """Do nothing."""

    def adopt_orphans(self) -> None:
        """Do nothing."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that collects children; afterwards signals are as they were."""
    before = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.watch_children()
    made.later(200, lambda: setattr(made, "ending", True))
    yield made
    made.forget()
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def workers(loop: Loop) -> Workers:
    made = Workers(loop, ShimHost())  # type: ignore[arg-type]
    loop.on_exit = lambda pid, _status: made.pids.discard(pid)
    return made


def result(loop: Loop, workers: Workers, work: Any, **more: Any) -> tuple[Any, Any]:
    """Let a worker do something. Returns error and result."""
    answers: list[tuple[Any, Any]] = []

    def done(error: Any, said: Any) -> None:
        answers.append((error, said))
        loop.ending = True

    workers.start(work, done, **more)
    loop.run()
    return answers[0]


def test_a_result(loop: Loop, workers: Workers) -> None:
    error, said = result(loop, workers, lambda worker: worker.answer({"pid": os.getpid(), "text": "ü" * 70000}))

    assert error is None
    assert said["pid"] != os.getpid()
    assert (len(said["text"]), said["terminal"]) == (70000, -1)
    assert not workers._answering


def test_a_descriptor_comes_along(loop: Loop, workers: Workers) -> None:
    def work(worker: Worker) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"through the pipe")
        worker.answer({}, reading)

    _error, said = result(loop, workers, work)

    assert os.read(said["terminal"], 100) == b"through the pipe"
    assert not os.get_inheritable(said["terminal"])
    os.close(said["terminal"])


def test_an_error_keeps_its_class(loop: Loop, workers: Workers) -> None:
    def work(_worker: Worker) -> None:
        raise errors.ProgramNotFound("nope")

    error, _said = result(loop, workers, work)

    assert isinstance(error, errors.ProgramNotFound)
    assert "executable file not found" in str(error)


def test_a_worker_that_is_killed(loop: Loop, workers: Workers) -> None:
    error, _said = result(loop, workers, lambda _worker: os.kill(os.getpid(), signal.SIGKILL))

    assert isinstance(error, errors.HostError)
    assert "was killed" in str(error)


def test_what_a_worker_has(loop: Loop, workers: Workers) -> None:
    """Its standard descriptors, those it is to keep, and nothing else of ours; its limit of files as it was."""
    reading, writing = os.pipe()
    other = os.open("/dev/null", os.O_RDONLY)
    null = os.open("/dev/null", os.O_RDWR)
    workers.files = (100, 200)

    def work(worker: Worker) -> None:
        import resource

        os.write(1, b"from 1")
        there = []
        for descriptor in (reading, writing, other):
            try:
                os.fstat(descriptor)
                there.append(descriptor)
            except OSError:
                pass
        worker.answer({"there": there, "files": resource.getrlimit(resource.RLIMIT_NOFILE)})

    _error, said = result(loop, workers, work, keep=[reading], standard=[null, writing, null])

    assert said["there"] == [reading]
    assert said["files"] == [100, 200]
    assert os.read(reading, 100) == b"from 1"
    for descriptor in (reading, writing, other, null):
        os.close(descriptor)


def test_children_are_collected(loop: Loop) -> None:
    """Each one once, also when many end at the same time."""
    ended: list[tuple[int, int]] = []
    pids: list[int] = []

    def note(pid: int, status: int) -> None:
        if pid in pids:  # and not a worker of another test
            ended.append((pid, status))
        loop.ending = len(ended) == 20

    loop.on_exit = note
    pids += [os.fork() or os._exit(number) for number in range(20)]
    loop.run()

    assert sorted(ended) == sorted((pid, number << 8) for number, pid in enumerate(pids))


def test_timers_and_mistakes(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    """Timers come in order of their time; one that fails is logged and stops nobody."""
    said: list[str] = []

    def fail() -> None:
        raise RuntimeError("on purpose")

    loop.later(0.2, lambda: said.append("late"))
    loop.later(0.1, fail)
    loop.later(0.0, lambda: said.append("early"))
    loop.later(0.3, lambda: setattr(loop, "ending", True))
    loop.run()

    assert said == ["early", "late"]
    assert "RuntimeError: on purpose (test_shim_workers.py:" in capfd.readouterr().err


def test_a_watch_that_ends(loop: Loop) -> None:
    """Who is not watched any more is not called, even if it was ready in the same turn."""
    pairs = [os.pipe() for _ in range(2)]
    called: list[int] = []

    def stop(number: int) -> None:
        called.append(number)
        for reading, _writing in pairs:
            loop.unwatch(reading)
        loop.later(0.02, lambda: setattr(loop, "ending", True))

    for number, (reading, writing) in enumerate(pairs):
        os.write(writing, b"x")
        loop.watch(reading, READ, lambda _events, number=number: stop(number))  # type: ignore[misc]
    loop.run()

    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            os.close(end)


def test_a_number_that_is_used_again(loop: Loop) -> None:
    """An event for a descriptor that was closed is not one for who got its number."""
    (first, to_first), (other, to_other) = os.pipe(), os.pipe()
    os.write(to_first, b"x")
    os.write(to_other, b"x")
    wrong: list[int] = []
    made: list[int] = []

    def replace(_events: int) -> None:
        for descriptor in (first, other):
            loop.unwatch(descriptor)
            os.close(descriptor)
        fresh = os.pipe()
        made.extend(fresh)
        for end in fresh:
            loop.watch(end, READ, wrong.append)
        loop.later(0.02, lambda: setattr(loop, "ending", True))

    loop.watch(first, READ, replace)
    loop.watch(other, READ, lambda events: replace(events))
    loop.run()

    assert wrong == []
    assert {first, other} <= set(made)


def test_waiting_costs_nothing(loop: Loop) -> None:
    """Without anything to do the loop sleeps."""
    before = time.process_time()
    loop.later(0.2, lambda: setattr(loop, "ending", True))
    loop.run()

    assert time.process_time() - before < 0.1
    assert select.POLLIN == READ
