"""What holds the tests together: needs are counted and skipped with a reason, and nothing waits for ever."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import limits, needs, watchdog
from tests.support.fake_item import FakeItem


def test_needs_come_from_markers_and_fixtures() -> None:
    mark = pytest.mark
    item: Any = FakeItem(
        mark.needs("skopeo", "root"), mark.linux, mark.peers("podman"), fixtures=("make_bundle", "runjail")
    )

    assert needs.of(item) == ["skopeo", "root", "linux", "containers", "podman", "program"]


def test_what_is_not_here_is_skipped_with_its_reason_and_counted() -> None:
    """The table has a line for each lack, the one that costs most tests first."""
    absent, both = pytest.mark.needs("no-such-program"), pytest.mark.needs("module no_such_module", "no-such-program")
    items: list[Any] = [FakeItem(absent), FakeItem(absent), FakeItem(both), FakeItem()]

    costs = needs.skip(items)

    assert [[mark.name for mark in item.added] for item in items] == [["needs", "skip"]] * 3 + [[]]
    assert items[2].added[1].kwargs["reason"] == ("needs the Python module no_such_module; the program no-such-program")
    assert needs.table(costs) == [
        "not tested here, and what it would take:",
        "      2 tests: the program no-such-program",
        "      1 tests: the Python module no_such_module",
    ]
    assert needs.table({}) == ["not tested here: nothing, this machine has all that the tests need"]


def test_every_need_that_a_test_names_has_a_reason() -> None:
    for name in needs.NEEDS:
        assert isinstance(needs.has(name), bool)
        assert needs.has(name) or needs.reason(name)


def test_a_test_that_waits_for_ever_fails() -> None:
    """The limit of the test around it still holds afterwards."""
    with pytest.raises(pytest.fail.Exception, match="not done after 0 s"), limits.limited("a test", 0.1):
        time.sleep(60)

    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0


def test_a_service_that_does_not_answer_is_ended_and_named() -> None:
    """Those that answer stay."""
    with subprocess.Popen(["sleep", "600"]) as silent, subprocess.Popen(["sleep", "600"]) as well:
        limits.Services.add("silent", silent.pid, ["false"])
        limits.Services.add("well", well.pid, ["true"])
        try:
            assert limits.Services.end_silent() == [f"silent (pid {silent.pid})"]
            assert silent.wait(120) == -signal.SIGKILL
            assert well.poll() is None
        finally:
            limits.Services.forget(silent.pid)
            limits.Services.forget(well.pid)
            silent.kill()
            well.kill()


@pytest.mark.needs("linux")
def test_a_call_that_no_signal_reaches_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a system call on a file system whose server hangs: the second alarm ends what it waits for."""
    monkeypatch.setattr(limits, "GRACE", 0.1)
    monkeypatch.setattr(limits, "PATIENCE", 600.0)  # on a busy machine the third alarm came before this went on
    with subprocess.Popen(["sleep", "600"]) as child:
        limits.Services.add("a service", child.pid, ["false"])
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        try:
            with pytest.raises(pytest.fail.Exception), limits.limited("a test", 0.1):
                assert child.wait() == -signal.SIGKILL
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            limits.Services.forget(child.pid)
            child.kill()


def test_what_nothing_else_ends_is_killed() -> None:
    """As where a process hangs in the kernel, whatever is done for it. Orders come several at a time, or in parts."""
    with subprocess.Popen(["sleep", "600"]) as hanging, contextlib.ExitStack() as last:
        last.callback(hanging.kill)  # or who fails waits for it
        command = [sys.executable, watchdog.__file__, str(hanging.pid)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            assert watching.stdin and watching.stderr
            never, soon = ({"end": end, "name": "a test", "services": [], "patience": 0.1} for end in (0, 0.1))
            text = "".join(json.dumps(orders) + "\n" for orders in (never, soon)).encode()
            watching.stdin.write(text[:-9])
            watching.stdin.flush()
            assert not select.select([watching.stderr], [], [], 0.5)[0] and hanging.poll() is None
            watching.stdin.write(text[-9:])
            watching.stdin.flush()
            assert hanging.wait(120) == -signal.SIGKILL
            watching.stdin.close()
            said = watching.stderr.read().decode()

    assert said == f"\na test hung; ended: nothing\n\na test hung; ended: pid {hanging.pid}\n"


@pytest.mark.needs("linux")
def test_the_second_alarm_is_no_child() -> None:
    """Some tests wait for all of their children."""
    assert limits.Alarm.now[0] > 0
    for pid in watchdog.children(os.getpid()):
        assert "watchdog" not in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def test_the_marker_sets_the_limit() -> None:
    item: Any = SimpleNamespace(get_closest_marker=lambda name: {"limit": pytest.mark.limit(7).mark}.get(name))

    assert limits.seconds_of(item) == 7
