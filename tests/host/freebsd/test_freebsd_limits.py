"""rctl rules and what they count."""

import errno
from pathlib import Path

import pytest

from runjail.container.container import Container, Runtime
from runjail.container.reserve import reserve
from runjail.container.update import update
from runjail.errors import HostError, cause
from runjail.spec.model import Resources
from runjail.steps import RctlRules
from tests.support.container.fake_host import record
from tests.support.host.fake_libc import Refusal
from tests.support.host.machine import Machine


def test_rules_are_added_and_only_they_are_removed(machine: Machine) -> None:
    others = ["jail:web:openfiles:deny=100", "jail:web:memoryuse:sigkill=4194304"]  # by the administrator
    machine.kernel.rules = [*others]

    machine.apply(RctlRules("web", ("maxproc:deny=20", "memoryuse:sigkill=1048576")))
    assert machine.kernel.rules == [*others, "jail:web:maxproc:deny=20", "jail:web:memoryuse:sigkill=1048576"]
    machine.undo()
    machine.undo()

    assert machine.kernel.rules == others


def test_an_update_replaces_and_drops(machine: Machine) -> None:
    machine.apply(RctlRules("web", ("maxproc:deny=20", "pcpu:deny=50")))

    machine.apply(RctlRules("web", ("maxproc:deny=30",), removed=("pcpu:deny", "swapuse:deny")))

    assert machine.kernel.rules == ["jail:web:maxproc:deny=30"]


def test_a_limit_that_is_changed_is_never_off(machine: Machine) -> None:
    """The new rule is there before the old one goes; when it is refused, the old one stays."""
    machine.apply(RctlRules("web", ("memoryuse:sigkill=100",)))
    machine.kernel.refuse["rctl_remove_rule"] = Refusal(errno.EPERM)
    with pytest.raises(HostError, match="remove the limit jail:web:memoryuse:sigkill=100"):
        machine.apply(RctlRules("web", ("memoryuse:sigkill=200",), removed=("memoryuse:sigkill=100",)))
    assert machine.kernel.rules == ["jail:web:memoryuse:sigkill=100", "jail:web:memoryuse:sigkill=200"]

    machine.kernel.refuse = {"rctl_add_rule": Refusal(errno.EPERM)}
    with pytest.raises(HostError, match="limit resources with jail:web:memoryuse:sigkill=300"):
        machine.apply(RctlRules("web", ("memoryuse:sigkill=300",), removed=("memoryuse:sigkill=100",)))
    assert machine.kernel.rules == ["jail:web:memoryuse:sigkill=100", "jail:web:memoryuse:sigkill=200"]

    machine.undo()
    assert machine.kernel.rules == []


def test_accounting_that_is_off_is_explained(machine: Machine) -> None:
    machine.kernel.accounting = False

    with pytest.raises(HostError, match="jail:web:maxproc:deny=20: the kernel does not account") as caught:
        machine.apply(RctlRules("web", ("maxproc:deny=20",), removed=("pcpu:deny",)))

    assert caught.value.hint == "put kern.racct.enable=1 into /boot/loader.conf and reboot"
    machine.undo()


@pytest.mark.parametrize(
    ("rule", "number"),
    [("cputime:deny=5", errno.EOPNOTSUPP), ("maxproc:deny=64m", errno.EINVAL), ("nosuch:deny=5", errno.EINVAL)],
)
def test_a_refused_rule_is_named(machine: Machine, rule: str, number: int) -> None:
    import os

    with pytest.raises(HostError) as caught:
        machine.apply(RctlRules("web", (rule,)))

    assert str(caught.value) == f"limit resources with jail:web:{rule}: {cause(OSError(number, os.strerror(number)))}"


def test_a_rule_that_cannot_be_removed_is_an_error(machine: Machine) -> None:
    machine.apply(RctlRules("web", ("maxproc:deny=20",)))
    machine.kernel.refuse["rctl_remove_rule"] = Refusal(errno.EPERM)

    with pytest.raises(HostError, match="remove the limit jail:web:maxproc:deny=20: not allowed"):
        machine.undo()


def test_usage_comes_from_accounting(machine: Machine) -> None:
    machine.add_jail(7)
    machine.kernel.add_process(50, jid=7)
    machine.kernel.racct["jail:web"] = "cputime=3,memoryuse=4096,maxproc=1,swapuse=512,nthr=2"
    machine.kernel.rules = ["jail:web:maxproc:deny=20", "jail:web:maxproc:log=10", "jail:web:memoryuse:sigkill=8192"]

    data = machine.host.usage(machine.host_state)

    assert data["cpu"]["usage"]["total"] == 3_000_000_000
    assert data["memory"]["usage"] == {"usage": 4096, "limit": 8192}
    assert data["memory"]["swap"] == {"usage": 512, "limit": 0}
    assert data["memory"]["raw"]["nthr"] == 2
    assert data["pids"] == {"current": 1, "limit": 10}


def test_usage_without_accounting_is_that_of_living_processes(machine: Machine) -> None:
    machine.add_jail(7)
    machine.kernel.accounting = False
    machine.kernel.add_process(50, jid=7, runtime=1000, resident=3)
    machine.kernel.add_process(51, jid=7, runtime=2000, resident=4)
    machine.kernel.add_process(52, jid=0, runtime=9999, resident=9)

    data = machine.host.usage(machine.host_state)

    assert data["cpu"]["usage"]["total"] == 3_000_000
    assert data["memory"]["usage"]["usage"] == 7 * 4096
    assert data["pids"] == {"current": 2, "limit": 0}


def test_a_group_is_only_remembered(machine: Machine) -> None:
    """rctl knows no groups but jails; what an NRI plugin says is told to those after it."""
    before = list(machine.kernel.rules)
    machine.host.move_cgroup("/qos-ls/web", machine.host_state, machine.notes.append)

    assert (machine.host_state.cgroup, machine.kernel.rules) == ("/qos-ls/web", before)


def test_updates_raise_and_lower_a_memory_limit(machine: Machine, tmp_path: Path) -> None:
    """One rule is in force after each update, `delete` takes that one back, and other people's stay."""
    others = ["jail:web:memoryuse:sigkill=4194304"]
    machine.kernel.rules = [*others]
    runtime = Runtime(machine.host, f"{tmp_path}/containers")
    container = running(machine, runtime)
    for amount in (200, 300, 200, 100):
        update("web", Resources(memory_limit=amount), runtime)
        assert machine.kernel.rules == [*others, f"jail:web:memoryuse:sigkill={amount}"]

    for note in reversed(container.notes()):
        machine.host.undo(note, machine.host_state)
    assert machine.kernel.rules == others


def running(machine: Machine, runtime: Runtime) -> Container:
    """Return a container whose init runs in jail 7."""
    machine.add_jail(7)
    machine.kernel.add_process(50, jid=7)
    container = reserve(runtime, "web")
    container.host_state.name, container.host_state.jid, container.host_state.pid = "web", 7, 50
    container.host_state.started = machine.host.start_time(50)
    record(container, boot=machine.host.boot_id())
    container.unlock()
    return container
