"""Jails, entering them and their processes on a real kernel, with the traps the host was written around."""

import ctypes
import os
import resource
import signal
import struct
import subprocess
import sys
import time

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.freebsd.structs import SSTOP, Jail
from runjail.spec.model import Process, Rlimit, User
from runjail.steps import Cpus, CreateJail
from tests.support.freebsd.real import Real, tool

if sys.platform.startswith("freebsd"):
    from runjail.host.freebsd import libc as libc_freebsd
    from runjail.host.freebsd import processes

pytestmark = pytest.mark.freebsd


# Jails ----------------------------------------------------------------------------------------------------------------


def test_a_jail_comes_and_goes(real: Real) -> None:
    real.create(("host.hostname", 'a$b "q" x'), ("enforce_statfs", "1"))

    assert real.libc.jail(real.host_state.jid) == Jail(real.host_state.jid, real.name, os.path.realpath(real.root))
    assert real.inside(lambda: os.uname().nodename) == 'a$b "q" x'
    real.undo()
    assert real.libc.jail(real.host_state.jid, dying=True) is None


def test_a_taken_name_is_left_alone(real: Real) -> None:
    real.create()
    first = real.host_state.jid

    with pytest.raises(HostError, match=f"jail {first} has this name already"):
        real.create()

    assert real.libc.jail(first)


@pytest.mark.parametrize(
    ("param", "text"),
    [
        (("no.such.param", "1"), "unknown parameter: no.such.param"),
        (("enforce_statfs", "9"), "jail_set: Invalid argument"),
        (("allow.mount.nonesuchfs", None), "unknown parameter: allow.mount.nonesuchfs"),
    ],
)
def test_refused_parameters_leave_no_jail(real: Real, param: tuple[str, str | None], text: str) -> None:
    with pytest.raises(HostError, match=f"create jail {real.name}: {text}"):
        real.create(param)

    assert real.libc.jail(real.name) is None


def test_a_missing_root_is_worded(real: Real) -> None:
    with pytest.raises(HostError, match=r"path /nonexistent: does not exist"):
        real.apply(CreateJail(real.name, (("path", "/nonexistent"), ("persist", None))))


def test_a_jail_without_noted_jid_is_removed_all_the_same(real: Real) -> None:
    real.create()
    real.notes.pop()
    real.undo()

    assert real.libc.jail(real.name) is None


def test_cpus(real: Real) -> None:
    real.create()

    real.apply(Cpus("0"))

    shown = subprocess.run(
        ["cpuset", "-g", "-j", str(real.host_state.jid)], capture_output=True, text=True, check=True
    ).stdout
    assert f"jail {real.host_state.jid} mask: 0\n" in shown
    with pytest.raises(HostError, match="this machine does not have all of them"):
        real.apply(Cpus("1000"))


# Entering -------------------------------------------------------------------------------------------------------------


def test_entering_changes_root_and_forbids_tracing(real: Real) -> None:
    (real.root / "mark").write_text("inside")
    real.create()

    def look() -> object:
        status = libc_freebsd.buffer(4)
        libc._call("procctl", 0, 0, 8, ctypes.addressof(status))  # PROC_TRACE_STATUS
        with open("/mark") as file:
            return file.read(), os.getcwd(), struct.unpack("i", bytes(status))[0]

    libc = real.libc
    assert real.inside(look) == "('inside', '/', -1)"


def test_only_kept_descriptors_go_along(real: Real) -> None:
    real.create()
    with open("/etc/passwd", "rb") as kept, open("/etc/group", "rb") as stray:
        os.set_inheritable(stray.fileno(), True)
        numbers = kept.fileno(), stray.fileno()

        def look() -> object:
            alive = []
            for number in range(3, 64):
                try:
                    os.fstat(number)
                    alive.append(number)
                except OSError:
                    pass
            return alive

        assert real.inside(look, [numbers[0]]) == f"[{numbers[0]}]"


def test_a_kept_directory_is_refused_with_its_number(real: Real) -> None:
    real.create()
    directory = os.open("/etc", os.O_RDONLY)
    said = real.inside(lambda: "entered", [directory])
    os.close(directory)

    assert said == f"HostError: enter jail {real.name}: descriptor {directory} is a directory, which leads out of it"


def test_a_removed_jail_cannot_be_entered(real: Real) -> None:
    real.create()
    real.undo()

    assert real.inside(lambda: "entered") == f"HostError: enter jail {real.name}: it is gone"


def test_identity_is_taken_on(real: Real) -> None:
    real.create()
    process = Process(
        ("x",),
        user=User(1000, 1001, additional_gids=(5, 6)),
        rlimits=(Rlimit("RLIMIT_NOFILE", 100, 200), Rlimit("RLIMIT_CORE", 0, -1)),
        no_new_privileges=True,
    )

    def become() -> object:
        import resource

        real.host.apply_credentials(process)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        return os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups()), limits

    __import__("resource")
    said = real.inside(become)

    first = [] if int(os.uname().release.partition(".")[0]) >= 15 else [1001]  # there it is the effective group alone
    assert said == str((1000, 1000, 1001, 1001, sorted([*first, 5, 6, 1001]), (100, 200)))


def test_no_groups_means_the_primary_one(real: Real) -> None:
    real.create()

    def become() -> object:
        real.host.apply_credentials(Process(("x",), user=User(1000, 1001)))
        return os.getegid(), [group for group in os.getgroups() if group != 1001]

    assert real.inside(become) == "(1001, [])"


def test_limits_that_the_kernel_lowers_are_accepted_and_raised_ones_are_not(real: Real) -> None:
    """podman asks every container for 2**20 files and processes; an NPROC of 0 becomes 1."""
    real.create()
    names = {"RLIMIT_NOFILE": resource.RLIMIT_NOFILE, "RLIMIT_NPROC": resource.RLIMIT_NPROC}
    most = [int(tool("sysctl", "-n", f"kern.{name}")) for name in ("maxfilesperproc", "maxprocperuid")]

    def become(value: int) -> object:
        real.host.apply_credentials(Process(("x",), rlimits=tuple(Rlimit(name, value, value) for name in names)))
        return [resource.getrlimit(number) for number in names.values()]

    assert real.inside(lambda: become(2**20)) == f"{[(value, value) for value in most]}"
    assert "HostError: set RLIMIT_NPROC to 0:0: the kernel made it 1:1" in real.inside(lambda: become(0))


# Processes ------------------------------------------------------------------------------------------------------------


def test_processes_signals_and_start_times(real: Real) -> None:
    real.create()
    pid = real.sleeper()
    since = real.host.start_time(pid)

    assert real.host.processes(real.host_state) == [pid]
    assert not real.host.kill(real.host_state, pid, "1", signal.SIGKILL)
    assert not real.host.is_dying(pid)
    assert real.host.kill(real.host_state, pid, since, signal.SIGTERM)
    while real.host.start_time(pid):
        time.sleep(0.01)
    assert real.host.processes(real.host_state) == [], "a zombie is no process any more"
    assert real.host.is_dying(pid)
    assert not real.host.kill(real.host_state, pid, since, signal.SIGTERM)
    os.waitpid(pid, 0)


def test_everybody_is_killed_zombies_notwithstanding(real: Real) -> None:
    real.create()
    pids = [real.sleeper() for _ in range(3)]

    real.host.kill_all(real.host_state, signal.SIGKILL)
    real.host.kill_all(real.host_state, signal.SIGKILL)

    assert real.host.processes(real.host_state) == []
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [-9, -9, -9]


def test_who_forks_all_the_time_is_killed_too(real: Real) -> None:
    real.create()

    def hop() -> None:
        while os.fork() == 0:
            pass
        os._exit(0)

    pid, reading = real.fork(hop)
    os.close(reading)
    os.waitpid(pid, 0)

    real.host.kill_all(real.host_state, signal.SIGKILL)

    assert real.host.processes(real.host_state) == []


def test_child_jails_belong_to_the_container(real: Real) -> None:
    real.create(("children.max", "2"))
    child = HostState("kid", f"{real.name}.kid", str(real.state), str(real.root), str(real.root))
    real.host.apply(CreateJail(child.name, (("path", str(real.root)), ("persist", None))), child, lambda note: None)
    parent, real.host_state = real.host_state, child
    pid = real.sleeper()
    real.host_state = parent

    assert real.host.processes(real.host_state) == [pid]
    real.host.kill_all(real.host_state, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    real.undo()
    assert real.libc.jail(child.name) is None


def test_freeze_and_thaw(real: Real) -> None:
    real.create()
    pid = real.sleeper()

    real.host.freeze(real.host_state)
    stopped = real.libc.process(pid)
    real.host.thaw(real.host_state)
    time.sleep(0.1)
    running = real.libc.process(pid)

    assert stopped and running and (stopped.state, running.state == SSTOP) == (SSTOP, False)
    real.host.kill_all(real.host_state, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_init_that_never_entered_is_killed(real: Real) -> None:
    real.create()
    pid = os.fork()
    if not pid:
        time.sleep(100)
        os._exit(0)
    real.host_state.pid, real.host_state.started = pid, real.host.start_time(pid)

    assert real.host.processes(real.host_state) == [pid]
    real.host.kill_all(real.host_state, signal.SIGKILL)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


@pytest.mark.slow
def test_setting_the_clock_is_no_reboot(real: Real) -> None:
    """Done for an instant and taken back: kern.boottime moves, our two answers do not."""
    before = real.libc.boottime(), processes.boot_id(real.libc), real.host.start_time(os.getpid())
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 1000)
    try:
        moved = real.libc.boottime(), processes.boot_id(real.libc), real.host.start_time(os.getpid())
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - 1000)

    assert moved[0] - before[0] > 900_000_000
    assert moved[1:] == before[1:]
    assert len(before[1].split()) == 5


# runjail check --------------------------------------------------------------------------------------------------------


def test_check_finds_this_machine_good_enough(real: Real) -> None:
    rows = {what: works for what, works, _, _ in real.host.check()}

    assert rows["root"]
    assert rows["devfs rules"]
