"""Processes: which are the container's, since when, and how they get a signal."""

import errno
import os
import signal
import time

import pytest

from runjail.errors import HostError
from runjail.host.freebsd import processes, structs
from runjail.host.freebsd.host import FreeBSDHost
from runjail.host.freebsd.libc import Libc
from tests.support.host.fake_libc import Refusal
from tests.support.host.machine import Machine


def test_setting_the_clock_is_no_reboot(machine: Machine) -> None:
    """kern.boottime moves with the clock; if it were the answer, delete would leave a running jail behind."""
    machine.kernel.add_process(50)
    before = machine.host.boot_id(), machine.host.start_time(50)

    machine.kernel.boottime += 3600_000_000
    machine.host = FreeBSDHost(machine.kernel.libc())

    assert (machine.host.boot_id(), machine.host.start_time(50)) == before


def test_a_reboot_is_noticed(machine: Machine) -> None:
    before = machine.host.boot_id()

    machine.reboot()

    assert machine.host.boot_id() != before


def test_without_kernel_processes_the_boot_time_has_to_do(machine: Machine) -> None:
    """Inside a jail nobody sees them."""
    machine.kernel.procs.clear()

    assert machine.host.boot_id() == f"boottime {machine.kernel.boottime}"


def test_zombies_and_the_dead_have_no_start(machine: Machine) -> None:
    machine.kernel.add_process(50, state=5)

    assert [machine.host.start_time(pid) for pid in (50, 4711)] == ["", ""]


def test_nobody_counts_who_starved(machine: Machine) -> None:
    """rctl(4) kills at `sigkill`, and says so to the log alone."""
    assert not machine.host.shim().oom_kills(machine.host_state)


def test_who_dies(machine: Machine) -> None:
    """Who is gone, who works on its end or waits for its other threads before that, and whom SIGKILL waits for."""
    machine.kernel.add_process(50, flag=0x10004000, siglist=1 << 14)
    machine.kernel.add_process(51, flag=0x2000)
    machine.kernel.add_process(52, siglist=1 << 8)
    machine.kernel.add_process(53, flag2=0x40000)

    assert [machine.host.is_dying(pid) for pid in (50, 51, 52, 53, 4711)] == [False, True, True, True, True]


def test_processes_are_those_of_the_jail_and_its_children(machine: Machine) -> None:
    machine.add_jail(7)
    machine.add_jail(8, "web.kid")
    machine.add_jail(9, "webby")
    for pid, jid in ((50, 7), (51, 8), (52, 9), (53, 0)):
        machine.kernel.add_process(pid, jid=jid)
    machine.kernel.add_process(54, jid=7, state=5)

    assert machine.host.processes(machine.host_state) == [50, 51]


def test_init_belongs_to_the_container_before_it_enters(machine: Machine) -> None:
    machine.add_jail(7)
    machine.kernel.add_process(60, start=123)
    machine.host_state.pid, machine.host_state.started = 60, machine.host.start_time(60)

    assert machine.host.processes(machine.host_state) == [60]
    machine.host_state.started = "124"
    assert machine.host.processes(machine.host_state) == []


def test_a_jid_that_somebody_else_has_now_gives_nobody(machine: Machine) -> None:
    machine.add_jail(7)
    machine.kernel.jails[7] = ("other", str(machine.root))
    machine.kernel.add_process(50, jid=7)

    assert machine.host.processes(machine.host_state) == []


@pytest.fixture
def child() -> "object":
    """A real process that waits to be signalled."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(writing, b"ready")
        time.sleep(60)
        os._exit(0)
    os.read(reading, 5)
    os.close(reading)
    os.close(writing)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_one_process_gets_its_signal(machine: Machine, child: int) -> None:
    machine.kernel.add_process(child, jid=7)

    assert machine.host.kill(machine.host_state, child, machine.host.start_time(child), signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize("since", ["", "1"])
def test_a_reused_pid_gets_nothing(machine: Machine, child: int, since: str) -> None:
    machine.kernel.add_process(child, jid=7)

    assert not machine.host.kill(machine.host_state, child, since, signal.SIGKILL)

    assert os.waitpid(child, os.WNOHANG) == (0, 0)


def test_a_process_that_dies_meanwhile_is_gone(machine: Machine) -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    machine.kernel.add_process(pid)

    assert not machine.host.kill(machine.host_state, pid, machine.host.start_time(pid), signal.SIGTERM)


class Inside:
    """What kill(-1) does in a helper: the helper is a real child, so it counts in a file."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, alive: int, die: bool = False) -> None:
        self.path = machine.base / "kills"
        self.path.write_text("")
        real = os.kill

        def kill(pid: int, number: int) -> None:
            if pid != -1:
                real(pid, number)
                return
            if die and not self.path.read_text():
                self.path.write_text("x")
                real(os.getpid(), signal.SIGKILL)
            with open(self.path, "a") as file:
                file.write(f"{number}\n")
            if len(self.path.read_text().splitlines()) > alive:
                raise ProcessLookupError(errno.ESRCH, "No such process")

        monkeypatch.setattr(os, "kill", kill)
        monkeypatch.setattr(processes, "KILL_ROUNDS", 5)

    def sent(self) -> list[int]:
        return [int(line.strip("x")) for line in self.path.read_text().splitlines()]


def inhabit(machine: Machine) -> None:
    """Make the container's jail, with a process that lives there."""
    machine.add_jail(7)
    machine.kernel.add_process(50, jid=7)


@pytest.mark.parametrize("left", [[], [structs.SZOMB]], ids=["nobody", "a zombie"])
def test_where_nobody_lives_no_helper_enters(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, left: list[int]
) -> None:
    """As for `delete` after `kill`; a program that was executed inside and outlives init is somebody."""
    machine.add_jail(7)
    for state in left:
        machine.kernel.add_process(50, jid=7, state=state)
        machine.host_state.pid = 50
    inside = Inside(machine, monkeypatch, alive=0)

    machine.host.kill_all(machine.host_state, signal.SIGKILL)
    assert not inside.path.read_text()

    machine.kernel.add_process(51, jid=7)
    machine.host.kill_all(machine.host_state, signal.SIGKILL)
    assert inside.sent() == [signal.SIGKILL]


def test_everybody_gets_the_signal_from_inside(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    inhabit(machine)
    inside = Inside(machine, monkeypatch, alive=3)

    machine.host.kill_all(machine.host_state, signal.SIGTERM)

    assert inside.sent() == [signal.SIGTERM]


def test_a_kill_is_repeated_until_nobody_is_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that forks all the time needed two rounds."""
    inhabit(machine)
    inside = Inside(machine, monkeypatch, alive=3)

    machine.host.kill_all(machine.host_state, processes.SIGKILL)

    assert inside.sent() == [9, 9, 9, 9]


def test_survivors_of_a_kill_are_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    inhabit(machine)
    Inside(machine, monkeypatch, alive=1000)

    with pytest.raises(
        HostError, match="signal 9 to everybody in jail web: they do not die, or this runjail is traced"
    ):
        machine.host.kill_all(machine.host_state, processes.SIGKILL)


def test_a_helper_that_another_killer_hit_is_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    inhabit(machine)
    inside = Inside(machine, monkeypatch, alive=0, die=True)

    machine.host.kill_all(machine.host_state, signal.SIGTERM)

    assert inside.sent() == [signal.SIGTERM]


def test_a_helper_that_is_stopped_from_inside_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jail's root may stop it; it is killed from here, and another one tries."""
    inhabit(machine)

    def stop(*_arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0

    monkeypatch.setattr(processes, "_signal_everybody", stop)
    monkeypatch.setattr(processes, "HELPER_SECONDS", 0.2)

    with pytest.raises(HostError, match="somebody kills who does it"):
        machine.host.kill_all(machine.host_state, signal.SIGTERM)


def test_a_jail_whose_inmates_kill_every_helper_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    inhabit(machine)
    monkeypatch.setattr(processes, "_from_inside", lambda libc, jid, number: signal.SIGKILL)

    with pytest.raises(HostError, match="somebody kills who does it"):
        machine.host.kill_all(machine.host_state, signal.SIGTERM)


def test_no_jail_means_nobody_to_signal(machine: Machine) -> None:
    machine.host.kill_all(machine.host_state, signal.SIGKILL)

    assert machine.kernel.calls == []


def test_a_jail_that_dies_meanwhile_is_success(machine: Machine) -> None:
    inhabit(machine)
    machine.kernel.refuse["jail_attach"] = Refusal(errno.EINVAL)

    machine.host.kill_all(machine.host_state, signal.SIGKILL)


@pytest.mark.parametrize("call", ["jail_attach", "procctl"])
def test_a_helper_that_cannot_enter_is_an_error(machine: Machine, call: str) -> None:
    inhabit(machine)
    machine.kernel.refuse[call] = Refusal(errno.EPERM)

    with pytest.raises(HostError, match="jail web: not allowed"):
        machine.host.kill_all(machine.host_state, signal.SIGKILL)


def test_init_that_has_not_entered_is_signalled_from_here(machine: Machine, child: int) -> None:
    """A creation that fails between fork and jail_attach must not wait for it."""
    machine.kernel.add_process(child, jid=0)
    machine.host_state.pid, machine.host_state.started = child, machine.host.start_time(child)

    machine.host.kill_all(machine.host_state, signal.SIGKILL)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_freezing_repeats_until_everybody_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add_jail(7)
    machine.kernel.add_process(50, jid=7)
    sent: list[int] = []

    def stop(libc: Libc, jid: int, number: int) -> int:
        sent.append(number)
        machine.kernel.procs[-1]["state"] = 4 if len(sent) == 2 else 3
        return 0

    monkeypatch.setattr(processes, "_from_inside", stop)

    machine.host.freeze(machine.host_state)
    assert sent == [processes.SIGSTOP] * 2
    machine.host.thaw(machine.host_state)

    assert sent[2:] == [processes.SIGCONT]


def test_freezing_does_not_wait_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sleeps in the kernel without a chance to be interrupted stops later."""
    machine.add_jail(7)
    machine.kernel.add_process(50, jid=7)
    monkeypatch.setattr(processes, "_from_inside", lambda libc, jid, number: 0)

    machine.host.freeze(machine.host_state)


def test_signal_numbers_are_freebsd_s() -> None:
    assert (processes.SIGKILL, processes.SIGSTOP, processes.SIGCONT) == (9, 17, 19)


def test_no_descriptor_is_taken_from_another_process(machine: Machine) -> None:
    """Only listeners of Linux's filters need that; a plan for FreeBSD has none."""
    with pytest.raises(OSError) as refused:
        machine.host.take_descriptor(os.getpid(), 0)

    assert refused.value.errno == errno.EOPNOTSUPP
