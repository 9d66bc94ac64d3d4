"""process.scheduler and execCPUAffinity on FreeBSD, as its system calls are asked for them."""

import os

import pytest

from runjail.errors import HostError
from runjail.spec.model import Process
from runjail.spec.scheduling import Scheduler
from tests.support.host.machine import Machine


@pytest.fixture
def nice(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Take setpriority(2) for this machine's own processes out of the tests."""
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize(
    ("scheduler", "kind", "priority"),
    [
        (Scheduler("SCHED_FIFO", priority=31), 10, 0),
        (Scheduler("SCHED_RR", priority=1), 2, 30),
        (Scheduler("SCHED_OTHER", nice=-5), 3, 0),
        (Scheduler("SCHED_IDLE", nice=19), 4, 31),
    ],
)
def test_a_class_and_a_priority_in_it(
    machine: Machine, nice: list[tuple[int, int, int]], scheduler: Scheduler, kind: int, priority: int
) -> None:
    pid = int(machine.kernel.procs[0]["pid"])
    machine.host.schedule(pid, Process(("x",), scheduler=scheduler))

    assert machine.kernel.calls[-1] == ("rtprio", 1, pid, kind, priority)
    assert nice == [(os.PRIO_PROCESS, pid, scheduler.nice)]


def test_nothing_is_asked_for_nothing(machine: Machine) -> None:
    machine.host.schedule(1, Process(("x",)))

    assert machine.kernel.calls == []


def test_what_the_kernel_refuses(machine: Machine, nice: list[tuple[int, int, int]]) -> None:
    with pytest.raises(HostError, match="setting the scheduler SCHED_RR: no such process"):
        machine.host.schedule(99999, Process(("x",), scheduler=Scheduler("SCHED_RR")))
    for cpus in ((9,), (5000,)):
        with pytest.raises(HostError, match=r"setting execCPUAffinity\.final: invalid argument"):
            machine.host.set_cpus(7, cpus, "final")

    assert nice == []


def test_the_cpus_of_one_process(machine: Machine) -> None:
    machine.host.set_cpus(7, (0, 2), "initial")

    assert machine.kernel.calls == [("cpuset", 3, 2, 7, [0, 2])]
