"""Limits of a jail on a real FreeBSD: rctl rules, what they stop, what they count; and processors."""

import json
import os
import signal
import time
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.steps import RctlRules
from tests.support.container.harness import Life
from tests.support.freebsd.real import Real, tool

pytestmark = pytest.mark.freebsd


def wait_for_memory(real: Real) -> dict[str, Any]:
    """The kernel counts memory about once a second."""
    for _ in range(50):
        data = real.host.usage(real.host_state)
        if data["memory"]["usage"]["usage"]:
            break
        time.sleep(0.1)
    return data


def test_limits_and_usage(real: Real) -> None:
    real.apply(RctlRules(real.name, ("maxproc:deny=20", "memoryuse:sigkill=134217728")))
    real.create()
    pid = real.sleeper()

    data = wait_for_memory(real)
    real.apply(RctlRules(real.name, ("maxproc:deny=30",), removed=("memoryuse:sigkill", "pcpu:deny")))

    assert data["pids"] == {"current": 1, "limit": 20}
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["usage"]["limit"] == 134217728
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {f"jail:{real.name}:maxproc:deny": 30}
    with pytest.raises(HostError, match=f"jail:{real.name}:cputime:deny=5: operation not supported"):
        real.apply(RctlRules(real.name, ("cputime:deny=5",)))
    real.undo()
    os.waitpid(pid, 0)
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {}


@pytest.fixture
def accounting() -> None:
    if tool("sysctl", "-n", "kern.racct.enable").strip() != "1":
        pytest.skip("needs kern.racct.enable=1 in /boot/loader.conf")


def limits(**more: str) -> dict[str, dict[str, str]]:
    """Return annotations with rctl rules."""
    return {"annotations": {f"org.runjail.rctl.{resource}": rule for resource, rule in more.items()}}


@pytest.mark.usefixtures("accounting")
def test_processes_beyond_the_limit_cannot_be_forked(real: Real) -> None:
    real.build(linux={"resources": {"pids": {"limit": 2}}})

    def fork() -> object:
        made = []
        for _ in range(4):
            try:
                pid = os.fork()
            except BlockingIOError:
                break
            if not pid:
                time.sleep(100)
            made.append(pid)
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return len(made)

    assert real.inside(fork) == "1"


@pytest.mark.usefixtures("accounting")
def test_files_beyond_the_limit_cannot_be_opened(real: Real) -> None:
    """The kernel looks when a table of descriptors grows; that of who tests has room for some hundreds already."""
    (real.root / "etc/file").write_text("")
    real.build(**limits(openfiles="deny=30"))

    def open_many() -> object:
        return len([os.open("/etc/file", os.O_RDONLY) for _ in range(5000)])

    assert "Too many open files" in real.inside(open_many)


@pytest.mark.usefixtures("accounting")
def test_who_takes_too_much_memory_is_killed(real: Real) -> None:
    real.build(linux={"resources": {"memory": {"limit": 64 << 20}}})

    def take() -> object:
        kept = [bytearray(1 << 20) for _ in range(160)]
        time.sleep(20)
        return len(kept)

    pid, reading = real.fork(take)
    status = os.waitpid(pid, 0)[1]
    os.close(reading)

    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.usefixtures("accounting")
def test_update_moves_a_memory_limit_both_ways(life: Life) -> None:
    life.bundle.config["linux"] = {"resources": {"memory": {"limit": 64 << 20}}}
    life.sleep()
    memory = []
    for size in (1 << 30, 32 << 20, 1 << 30):
        life.runjail.ok("update", "--memory", str(size), "c")
        rules = [rule for rule in tool("rctl", "jail:c").splitlines() if ":memoryuse:" in rule]
        data = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
        memory.append((rules, data["memory"]["usage"]["limit"]))

    assert memory == [([f"jail:c:memoryuse:sigkill={size}"], size) for size in (1 << 30, 32 << 20, 1 << 30)]
    life.runjail.ok("delete", "-f", "c")
    assert tool("rctl", "jail:c") == ""


@pytest.mark.usefixtures("accounting")
def test_rules_are_those_of_the_document_and_go_with_the_container(real: Real) -> None:
    resources = {"memory": {"limit": 1 << 30, "swap": 3 << 29}, "pids": {"limit": 7}, "cpu": {"quota": 50000}}
    real.build(linux={"resources": resources}, **limits(nshm="deny=3,log=2", writebps="throttle=1m"))

    assert set(tool("rctl", f"jail:{real.name}").splitlines()) == {
        f"jail:{real.name}:{rule}"
        for rule in (
            *("memoryuse:sigkill=1073741824", "swapuse:deny=536870912", "maxproc:deny=7", "pcpu:deny=50"),
            *("nshm:deny=3", "nshm:log=2", "writebps:throttle=1048576"),
        )
    }
    real.undo()
    assert tool("rctl", f"jail:{real.name}") == ""


def test_processors(real: Real) -> None:
    real.build(linux={"resources": {"cpu": {"cpus": "0"}}})
    pid = real.sleeper()

    assert tool("cpuset", "-g", "-p", str(pid)).splitlines()[0].endswith("mask: 0")
    real.host.kill_all(real.host_state, signal.SIGKILL)
    os.waitpid(pid, 0)
