"""The way of a child into its jail."""

import errno
import fcntl
import os
import resource
import struct
import sys
import termios
from collections.abc import Callable

import pytest

from runjail.errors import HostError
from runjail.host.freebsd import attach  # noqa: F401  so that it can be unloaded below
from runjail.spec.model import Process, Rlimit, User
from runjail.steps import Plan
from tests.support.host.fake_libc import Refusal
from tests.support.host.machine import Machine
from tests.support.processes import report


def in_child(work: Callable[[], object]) -> str:
    """Do the work in a forked child and return what it returned or raised, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 0)  # confine closes what it was not told to keep
        report(0, work)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        return file.read()


def test_entering_forbids_tracing_closes_and_attaches(machine: Machine) -> None:
    """In this order: before the first look inside nothing of the host may be left open or traceable."""
    machine.add_jail(7)
    stray = os.open("/etc", os.O_RDONLY)
    kept = os.open("/etc/passwd", os.O_RDONLY)

    def enter() -> object:
        machine.host.enter_root(machine.host_state, [kept])
        try:
            os.fstat(stray)
            left = "stray left"
        except OSError:
            left = "stray closed"
        return left, os.read(kept, 4), os.getcwd(), machine.kernel.calls

    said = in_child(enter)
    os.close(stray)
    os.close(kept)

    assert said == "('stray closed', b'root', '/', [('procctl', 7, 2), ('jail_attach', 7)])"


def test_who_is_traced_does_not_enter_and_says_why(machine: Machine) -> None:
    """As under `ktrace -i runjail create`, which was "device busy": the kernel forbids no tracing that goes on."""
    machine.add_jail(7)
    machine.kernel.refuse["procctl"] = Refusal(errno.EBUSY)

    said = in_child(lambda: machine.host.enter_root(machine.host_state, []))

    assert said.startswith("HostError: forbid tracing of the process that enters jail web: it is traced")
    assert machine.kernel.calls == []


@pytest.mark.parametrize("keep", [[5], []])
def test_a_directory_is_refused_before_the_kernel_does(machine: Machine, keep: list[int]) -> None:
    """jail_attach(2) would say "Operation not permitted"; a preserved directory would be a way out."""
    machine.add_jail(7)

    def enter() -> object:
        directory = os.open("/etc", os.O_RDONLY)
        os.dup2(directory, 5 if keep else 1)
        return machine.host.enter_root(machine.host_state, keep)

    number = 5 if keep else 1
    wanted = f"HostError: enter jail web: descriptor {number} is a directory, which leads out of it"
    assert in_child(enter) == wanted


def test_closed_standard_descriptors_do_not_matter(machine: Machine) -> None:
    machine.add_jail(7)

    def enter() -> object:
        os.close(1)
        os.close(2)
        return machine.host.enter(machine.host_state, [])

    assert in_child(enter) == "None"


def test_who_is_attached_has_been_seen_already(machine: Machine) -> None:
    """Nothing is left to be done, and it is the process that was forked."""
    told: list[int] = []

    assert not machine.host.appear(told.append)
    assert told == []


def test_a_jail_of_another_container_is_not_entered(machine: Machine) -> None:
    machine.add_jail(7)
    machine.kernel.jails[7] = ("other", str(machine.root))

    assert in_child(lambda: machine.host.enter(machine.host_state, [])) == "HostError: enter jail web: it is gone"


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.EINVAL, "it is gone"), (errno.EPERM, "not allowed"), (errno.ENOTDIR, "not a directory")],
)
def test_a_refused_attach_is_worded(machine: Machine, number: int, text: str) -> None:
    machine.add_jail(7)
    machine.kernel.refuse["jail_attach"] = Refusal(number)

    assert in_child(lambda: machine.host.enter(machine.host_state, [])) == f"HostError: enter jail web: {text}"


def test_what_children_need_is_loaded_before_the_fork(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports inside a jail would look for the container's files."""
    monkeypatch.delitem(sys.modules, "runjail.host.freebsd.attach")
    monkeypatch.delattr("runjail.host.freebsd.attach")
    loaded: list[bool] = []

    def fork() -> int:
        loaded.append("runjail.host.freebsd.attach" in sys.modules)
        return 4711

    monkeypatch.setattr(os, "fork", fork)

    assert machine.host.fork_init(machine.host_state, Plan("freebsd", "web", "/", "/", ()), Process(("sh",))) == 4711
    assert loaded == [True]
    machine.host.record_namespaces(machine.host_state)
    assert machine.host_state.namespaces == {}


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Record what a process would take on."""
    taken: list[tuple[str, object]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda number, limits: taken.append((f"limit {number}", limits)))
    monkeypatch.setattr(resource, "getrlimit", lambda number: taken[-1][1])
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: taken.append((name, value)))
    return taken


PROCESS = Process(("x",), user=User(10, 20, additional_gids=(30,)), rlimits=(Rlimit("RLIMIT_KQUEUES", 5, 6),))


def test_limits_come_before_ids(machine: Machine, identity: list[tuple[str, object]]) -> None:
    """Only root may raise them. Numbers are FreeBSD's, which Python knows by name only there.

    The primary group stands twice: before FreeBSD 15 its first place is the effective group's.
    """
    machine.host.apply_credentials(PROCESS)

    assert identity == [("limit 13", (5, 6)), ("setgroups", [20, 20, 30]), ("setgid", 20), ("setuid", 10)]
    assert machine.kernel.calls == []


def test_no_new_privileges_is_promised_to_the_kernel(machine: Machine, identity: list[tuple[str, object]]) -> None:
    machine.host.apply_credentials(PROCESS.replace(no_new_privileges=True))

    assert machine.kernel.calls == [("procctl", 19, 1)]


def test_a_limit_of_linux_is_an_error(machine: Machine) -> None:
    with pytest.raises(HostError, match="RLIMIT_NICE: this system has no such limit"):
        machine.host.apply_credentials(PROCESS.replace(rlimits=(Rlimit("RLIMIT_NICE", 1, 1),)))


def test_a_console_has_owner_and_size(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: owners.append((uid, gid)))

    master, slave = machine.host.open_console(PROCESS.replace(console_size=(24, 80)), machine.host_state)
    size = struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))
    inheritable = os.get_inheritable(slave)
    os.close(master)
    os.close(slave)

    assert (owners, size[:2], inheritable) == ([(10, -1)], (24, 80), False)


def test_a_console_without_size_keeps_the_system_s(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: None)

    for descriptor in machine.host.open_console(PROCESS, machine.host_state):
        os.close(descriptor)


def test_a_console_that_cannot_be_owned_leaves_nothing_open(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "fchown", refuse)
    before = os.dup(0)
    os.close(before)

    with pytest.raises(HostError, match="open a terminal: no"):
        machine.host.open_console(PROCESS, machine.host_state)

    after = os.dup(0)
    os.close(after)
    assert after == before


def test_no_terminal_left_is_an_error(machine: Machine) -> None:
    machine.kernel.refuse["posix_openpt"] = Refusal(errno.EAGAIN)

    with pytest.raises(HostError, match="open a terminal: "):
        machine.host.open_console(PROCESS, machine.host_state)
