"""Containers that share the process numbers of another, as in a pod: each has its own processes all the same."""

from collections.abc import Callable

import pytest

from tests.support.container.harness import is_alive
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
