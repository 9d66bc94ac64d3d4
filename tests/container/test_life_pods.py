"""Containers that share the process numbers of another, as in a pod: each has its own processes all the same."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.container.harness import Life, failed, is_alive, until
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux


@pytest.fixture
def pod(runjail: Runjail, make_bundle: Callable[[str], Bundle]) -> Bundle:
    """A container `first` that runs; returns a bundle whose container shares its process numbers."""
    first, second = make_bundle("first"), make_bundle("second")
    runjail.ok("create", "-b", str(first.path), "first")
    runjail.ok("start", "first")
    pid = runjail.state("first")["pid"]
    for each in second.config["linux"]["namespaces"]:
        if each["type"] == "pid":
            each["path"] = f"/proc/{pid}/ns/pid"
    return second


def run(runjail: Runjail, bundle: Bundle, *command: str) -> None:
    runjail.ok("create", "-b", bundle.write(*command), "second")
    runjail.ok("start", "second")


def pids(runjail: Runjail, id: str) -> list[int]:
    return sorted(map(int, runjail.ok("ps", "--format", "json", id).stdout.strip("[]\n ").split(",")))


@pytest.mark.parametrize("gone", [False, True], ids=["init lives", "init is gone"])
def test_a_kill_reaches_all_where_no_pid_namespace_ends_them(life: Life, tmp_path: Path, gone: bool) -> None:
    """runc since 1.2: KILL for init left the others, whom nobody would ever find again."""
    kinds = life.bundle.config["linux"]["namespaces"]
    life.bundle.config["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "pid"]
    life.sleep()
    init = life.runjail.state("c")["pid"]
    for number in range(2):
        life.runjail.ok("exec", "-d", "--pid-file", str(tmp_path / f"{number}"), "c", "/bin/sleep", "600")
    pids = [int((tmp_path / f"{number}").read_text()) for number in range(2)]
    if gone:
        os.kill(init, signal.SIGKILL)
        until(lambda: not is_alive(init))
    life.runjail.ok("kill", "c", "KILL")
    until(lambda: not any(map(is_alive, (init, *pids))))

    assert life.runjail.state("c")["status"] == "stopped"
    failed(life.runjail("kill", "c", "KILL"), "container not running: c")


def test_who_outlives_init_is_taken_back(runjail: Runjail, pod: Bundle) -> None:
    """The end of its init ends nobody else: `delete` does."""
    run(runjail, pod, "/bin/sh", "-c", "sleep 600 & echo $! > /var/left; exit 0")
    runjail.wait("second")
    (left,) = pids(runjail, "second")
    runjail.ok("delete", "second")

    assert not is_alive(left)  # collected or not: that is for the init of the other
    assert runjail.state("first")["status"] == "running"
    runjail.ok("exec", "first", "/bin/true")


def test_signals_and_lists_are_of_one_container(runjail: Runjail, pod: Bundle) -> None:
    run(runjail, pod, "/bin/sh", "-c", "sleep 600 & wait")
    init = runjail.state("second")["pid"]

    listed = pids(runjail, "second")
    assert len(listed) == 2 and init in listed
    assert runjail.state("first")["pid"] not in listed
    runjail.ok("kill", "--all", "second", "KILL")
    runjail.wait("second")
    assert runjail.state("first")["status"] == "running"
    runjail.ok("delete", "second")
