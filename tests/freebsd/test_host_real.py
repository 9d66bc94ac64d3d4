"""The FreeBSD host on a real kernel: every method once for real, and the traps it was written around."""

import ctypes
import fcntl
import itertools
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.base import Box
from runjail.host.freebsd_structs import SSTOP, Prison
from runjail.spec.model import Process, Rlimit, User
from runjail.steps import Alias, Cpus, CreateJail, Limits, Loopback, Mount, MoveInterface, ReadonlyRoot, Step

if sys.platform.startswith("freebsd"):
    from runjail.host import freebsd_processes as processes
    from runjail.host import libc_freebsd
    from runjail.host.freebsd import FreeBSDHost

pytestmark = pytest.mark.freebsd


class Real:
    """One container in the making on this machine."""

    def __init__(self, base: Path) -> None:
        self.host = FreeBSDHost()
        self.libc = libc_freebsd.load()
        self.base, self.root, self.state = base, base / "rootfs", base / "state"
        self.state.mkdir()
        # Nothing is executed in it: only children of this interpreter live there.
        for name in ("dev", "etc", "proc", "run", "tmp", "var"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:*:0:0::/:/bin/sh\n")
        self.name = f"rjtest{os.getpid()}"
        self.box = Box(self.name, self.name, str(self.state), str(self.root), str(self.root))
        self.notes: list[dict[str, Any]] = []

    def apply(self, *steps: Step) -> None:
        for step in steps:
            self.host.apply(step, self.box, self.notes.append)

    def create(self, *params: tuple[str, str | None]) -> None:
        given = (("name", self.name), ("path", self.box.root), ("persist", None), *params)
        self.apply(CreateJail(self.name, given))

    def undo(self) -> None:
        self.host.kill_all(self.box, signal.SIGKILL)
        for note in reversed(self.notes):
            self.host.undo(note, self.box)

    def mounts(self) -> list[str]:
        """Return what is mounted below the root, relative to it."""
        table = [mounted.path for mounted in self.libc.mounts()]
        root = os.path.realpath(self.box.root) + "/"
        return [path.removeprefix(root) for path in table if path.startswith(root)]

    def fork(self, work: Callable[[], object], keep: list[int] | None = None) -> tuple[int, int]:
        """Fork a process into the jail. Returns its pid and where it writes what `work` returned or raised."""
        reading, writing = os.pipe()
        pid = self.host.fork_inside(self.box)
        if not pid:
            try:
                os.dup2(writing, 2)
                self.host.enter(self.box, keep or [])
                said = f"{work()}"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(2, said.encode())
            os._exit(0)
        os.close(writing)
        return pid, reading

    def inside(self, work: Callable[[], object], keep: list[int] | None = None) -> str:
        """Do work in the jail and return what it said."""
        pid, reading = self.fork(work, keep)
        with os.fdopen(reading) as file:
            said = file.read()
        os.waitpid(pid, 0)
        return said

    def sleeper(self) -> int:
        """Start a process that sleeps in the jail."""
        pid, reading = self.fork(lambda: (os.write(2, b"in"), time.sleep(100)))
        assert os.read(reading, 2) == b"in"
        os.close(reading)
        return pid


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path)
    yield made
    made.undo()
    assert made.libc.jail(made.name) is None
    assert made.mounts() == []


# Jails ----------------------------------------------------------------------------------------------------------------


def test_a_jail_comes_and_goes(real: Real) -> None:
    real.create(("host.hostname", 'a$b "q" x'), ("enforce_statfs", "1"))

    assert real.libc.jail(real.box.jid) == Prison(real.box.jid, real.name, os.path.realpath(real.root))
    assert real.inside(lambda: os.uname().nodename) == 'a$b "q" x'
    real.undo()
    assert real.libc.jail(real.box.jid, dying=True) is None


def test_a_taken_name_is_left_alone(real: Real) -> None:
    real.create()
    first = real.box.jid

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

    shown = subprocess.run(["cpuset", "-g", "-j", str(real.box.jid)], capture_output=True, text=True, check=True).stdout
    assert f"jail {real.box.jid} mask: 0\n" in shown
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

        real.host.become(process)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        return os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups()), limits

    __import__("resource")
    said = real.inside(become)

    first = [] if int(os.uname().release.partition(".")[0]) >= 15 else [1001]
    assert said == str((1000, 1000, 1001, 1001, sorted([*first, 5, 6]), (100, 200)))


def test_no_groups_means_none(real: Real) -> None:
    real.create()

    def become() -> object:
        real.host.become(Process(("x",), user=User(1000, 1001)))
        return os.getegid(), [group for group in os.getgroups() if group != 1001]

    assert real.inside(become) == "(1001, [])"


def test_a_limit_that_the_kernel_lowers_is_an_error(real: Real) -> None:
    real.create()
    process = Process(("x",), rlimits=(Rlimit("RLIMIT_NOFILE", 10**9, 10**9),))

    assert "HostError: set RLIMIT_NOFILE to 1000000000:1000000000: the kernel made it" in real.inside(
        lambda: real.host.become(process)
    )


# Processes ------------------------------------------------------------------------------------------------------------


def test_processes_signals_and_start_times(real: Real) -> None:
    real.create()
    pid = real.sleeper()
    since = real.host.started(pid)

    assert real.host.processes(real.box) == [pid]
    assert not real.host.kill(real.box, pid, "1", signal.SIGKILL)
    assert real.host.kill(real.box, pid, since, signal.SIGTERM)
    while real.host.started(pid):
        time.sleep(0.01)
    assert real.host.processes(real.box) == [], "a zombie is no process any more"
    assert not real.host.kill(real.box, pid, since, signal.SIGTERM)
    os.waitpid(pid, 0)


def test_everybody_is_killed_zombies_notwithstanding(real: Real) -> None:
    real.create()
    pids = [real.sleeper() for _ in range(3)]

    real.host.kill_all(real.box, signal.SIGKILL)
    real.host.kill_all(real.box, signal.SIGKILL)

    assert real.host.processes(real.box) == []
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

    real.host.kill_all(real.box, signal.SIGKILL)

    assert real.host.processes(real.box) == []


def test_child_jails_belong_to_the_container(real: Real) -> None:
    real.create(("children.max", "2"))
    child = Box("kid", f"{real.name}.kid", str(real.state), str(real.root), str(real.root))
    real.host.apply(CreateJail(child.name, (("path", str(real.root)), ("persist", None))), child, lambda note: None)
    parent, real.box = real.box, child
    pid = real.sleeper()
    real.box = parent

    assert real.host.processes(real.box) == [pid]
    real.host.kill_all(real.box, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    real.undo()
    assert real.libc.jail(child.name) is None


def test_freeze_and_thaw(real: Real) -> None:
    real.create()
    pid = real.sleeper()

    real.host.freeze(real.box)
    stopped = real.libc.process(pid)
    real.host.thaw(real.box)
    time.sleep(0.1)
    running = real.libc.process(pid)

    assert stopped and running and (stopped.state, running.state == SSTOP) == (SSTOP, False)
    real.host.kill_all(real.box, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_init_that_never_entered_is_killed(real: Real) -> None:
    real.create()
    pid = os.fork()
    if not pid:
        time.sleep(100)
        os._exit(0)
    real.box.pid, real.box.started = pid, real.host.started(pid)

    assert real.host.processes(real.box) == [pid]
    real.host.kill_all(real.box, signal.SIGKILL)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


@pytest.mark.slow
def test_setting_the_clock_is_no_reboot(real: Real) -> None:
    """Done for an instant and taken back: kern.boottime moves, our two answers do not."""
    before = real.libc.boottime(), processes.boot(real.libc), real.host.started(os.getpid())
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 1000)
    try:
        moved = real.libc.boottime(), processes.boot(real.libc), real.host.started(os.getpid())
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - 1000)

    assert moved[0] - before[0] > 900_000_000
    assert moved[1:] == before[1:]
    assert len(before[1].split()) == 5


# Mounts ---------------------------------------------------------------------------------------------------------------


def test_mounts_of_all_kinds_in_order_and_gone_again(real: Real) -> None:
    source = real.base / "volume"
    source.mkdir()
    (source / "file").write_text("data")
    before = sorted(os.listdir(real.root))
    subprocess.run(["kldload", "-n", "linprocfs"], check=True)  # brings linux_common, which makes /dev/shm

    real.apply(
        Mount("devfs", "devfs", "/dev", flags=("nosuid",), ruleset=4, rules=("path shm unhide mode 1777",)),
        Mount("fdescfs", "fdescfs", "/dev/fd", data=(("linrdlnk", ""),)),
        Mount("tmpfs", "tmpfs", "/dev/shm", flags=("nosuid", "noexec"), data=(("size", "1m"), ("mode", "1777"))),
        Mount("nullfs", str(source), "/made/volume", flags=("ro", "nosuid", "noexec", "noatime")),
        Mount("nullfs", str(source / "file"), "/etc/made"),
        Mount("tmpfs", "tmpfs", "/tmp"),
    )

    assert real.mounts() == ["dev", "dev/fd", "dev/shm", "made/volume", "etc/made", "tmp"]
    assert (real.root / "etc/made").read_text() == "data"
    with pytest.raises(OSError, match="Read-only"):
        (real.root / "made/volume/new").write_text("")
    nodes = set(os.listdir(real.root / "dev"))
    assert {"null", "zero", "random", "fd", "shm"} <= nodes
    assert not nodes & {"mem", "kmem", "io"}
    assert os.stat(real.root / "dev/shm").st_mode & 0o7777 == 0o1777
    real.create(("enforce_statfs", "1"))
    assert "file" in real.inside(lambda: os.listdir("/made/volume"))
    real.undo()
    assert real.mounts() == []
    assert sorted(os.listdir(real.root)) == before
    assert not os.path.exists(real.root / "etc/made")


def test_links_in_the_image_stay_inside_it(real: Real) -> None:
    target = real.base / "host"
    target.mkdir()
    (real.root / "escape").symlink_to(target)

    real.apply(Mount("tmpfs", "tmpfs", "/escape"))

    assert real.mounts() == [str(target)[1:]]
    assert not os.path.ismount(target)


def test_a_file_that_is_swapped_for_a_link_all_the_time(real: Real) -> None:
    """HOST PATH WAS MOUNTED ON! is what this must never say."""
    outside, source, target = real.base / "outside", real.base / "source", real.root / "etc/file"
    outside.write_text("host")
    source.write_text("volume")
    pid = os.fork()
    if not pid:
        for number in itertools.cycle("ab"):
            if number == "a":
                (real.root / "etc/new").write_text("")
            else:
                os.symlink(outside, real.root / "etc/new")
            try:
                os.rename(real.root / "etc/new", target)
            except OSError:  # it is mounted on just now
                os.unlink(real.root / "etc/new")
    mounted = 0
    try:
        for _ in range(60):
            try:
                real.apply(Mount("nullfs", str(source), "/etc/file"))
                mounted += 1
            except HostError:
                pass
            assert outside.read_text() == "host", "HOST PATH WAS MOUNTED ON!"
            while real.notes:
                real.host.undo(real.notes.pop(), real.box)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    assert mounted


def test_what_is_mounted_below_later_goes_too(real: Real) -> None:
    real.apply(Mount("tmpfs", "tmpfs", "/tmp"))
    real.create(("allow.mount", None), ("allow.mount.tmpfs", None), ("enforce_statfs", "1"))
    (real.root / "tmp/deep").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(real.root / "tmp/deep")], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(real.root / "run")], check=True)

    real.undo()

    assert real.mounts() == []


def test_a_busy_mount_goes_by_force(real: Real) -> None:
    real.apply(Mount("tmpfs", "tmpfs", "/tmp"))
    held = os.open(real.root / "tmp/file", os.O_RDWR | os.O_CREAT)

    real.undo()

    assert real.mounts() == []
    with pytest.raises(OSError, match=r"Device not configured|Bad file descriptor"):
        os.write(held, b"x")
    os.close(held)


def test_a_read_only_root_with_mount_points_made_behind_it(real: Real) -> None:
    view = str(real.state / "rootfs")
    real.apply(ReadonlyRoot(str(real.root), view))
    real.box.root = view

    real.apply(Mount("tmpfs", "tmpfs", "/made/tmp"), Mount("tmpfs", "tmpfs", "/made/tmp/deeper"))
    real.create(("enforce_statfs", "1"))

    assert real.mounts() == ["made/tmp", "made/tmp/deeper"]
    assert "Read-only file system" in real.inside(lambda: open("/file", "w"))
    pid = real.sleeper()
    real.host.kill_all(real.box, signal.SIGKILL)
    assert os.path.isdir(real.root / "made/tmp")
    os.waitpid(pid, 0)
    real.undo()
    assert not os.path.exists(view)
    assert not os.path.exists(real.root / "made")


def test_a_dying_jail_does_not_keep_the_view(real: Real) -> None:
    """An unreaped zombie pins the root directory: after the patience it is unmounted by force."""
    view = str(real.state / "rootfs")
    real.apply(ReadonlyRoot(str(real.root), view))
    real.box.root = view
    real.create()
    pid = real.sleeper()

    real.undo()

    assert not os.path.exists(view)
    os.waitpid(pid, 0)


def test_a_recursive_bind(real: Real) -> None:
    source = real.base / "volume"
    (source / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(source / "inner")], check=True)
    try:
        (source / "inner/file").write_text("deep")

        real.apply(Mount("nullfs", str(source), "/data", flags=("ro",), recursive=True))

        assert real.mounts() == ["data", "data/inner"]
        assert (real.root / "data/inner/file").read_text() == "deep"
        with pytest.raises(OSError, match="Read-only"):
            (real.root / "data/inner/new").write_text("")
    finally:
        real.undo()
        subprocess.run(["umount", str(source / "inner")], check=True)


def test_copy_up(real: Real) -> None:
    (real.root / "var/log").mkdir()
    (real.root / "var/log/old").write_text("kept")
    os.chown(real.root / "var/log", 1000, 1000)

    real.apply(Mount("tmpfs", "tmpfs", "/var", flags=("ro", "nosuid"), copy_up=True))

    assert (real.root / "var/log/old").read_text() == "kept"
    assert os.stat(real.root / "var/log").st_uid == 1000
    with pytest.raises(OSError, match="Read-only"):
        (real.root / "var/new").write_text("")


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [("/dev/null", "/file", "its source is a device"), ("/etc", "/etc/passwd", "the mount point is no directory")],
)
def test_types_that_do_not_fit(real: Real, source: str, target: str, text: str) -> None:
    with pytest.raises(HostError, match=text):
        real.apply(Mount("nullfs", source, target))


def test_a_file_with_two_names_is_no_mount_point(real: Real) -> None:
    os.link(real.root / "etc/passwd", real.root / "etc/other")

    with pytest.raises(HostError, match="is a file with 2 names"):
        real.apply(Mount("nullfs", "/etc/passwd", "/etc/other"))


def test_an_unknown_option_is_the_kernel_s_to_name(real: Real) -> None:
    with pytest.raises(HostError, match="mount option <nodev> is unknown"):
        real.apply(Mount("tmpfs", "tmpfs", "/tmp", data=(("nodev", ""),)))


def test_a_directory_is_not_mounted_on_itself(real: Real) -> None:
    real.apply(Mount("nullfs", "/etc", "/tmp"))

    with pytest.raises(HostError, match="it would cover itself"):
        real.apply(Mount("nullfs", "/etc", "/tmp"))


def test_the_working_directory_is_what_it_was(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real.base)

    real.apply(Mount("tmpfs", "tmpfs", "/tmp"))

    assert os.getcwd() == os.path.realpath(real.base)


# devfs ----------------------------------------------------------------------------------------------------------------


def test_a_ruleset_that_is_not_loaded_mounts_nothing(real: Real) -> None:
    with pytest.raises(HostError, match="devfs ruleset 777 is not loaded"):
        real.apply(Mount("devfs", "devfs", "/dev", ruleset=777))

    assert real.mounts() == []


def test_the_private_ruleset_goes_with_the_container(real: Real) -> None:
    def showsets() -> list[bytes]:
        return subprocess.run(["devfs", "rule", "showsets"], capture_output=True, check=True).stdout.split()

    before = showsets()
    real.apply(Mount("devfs", "devfs", "/dev", ruleset=4, rules=("path full unhide mode 600",)))
    assert len(showsets()) == len(before) + 1
    real.undo()

    assert showsets() == before


def test_a_bad_rule_is_named(real: Real) -> None:
    with pytest.raises(HostError, match="unknown argument: frobnicate"):
        real.apply(Mount("devfs", "devfs", "/dev", ruleset=4, rules=("path x frobnicate",)))


# Network --------------------------------------------------------------------------------------------------------------


def test_aliases(real: Real) -> None:
    def listing() -> str:
        return subprocess.run(["ifconfig", "lo0"], capture_output=True, text=True, check=True).stdout

    before = listing()
    real.apply(Alias("lo0", "inet", "10.77.77.1/32"), Alias("lo0", "inet6", "fd77::1/128"))
    real.apply(Alias("lo0", "inet", "127.0.0.1/8"), Alias("lo0", "inet6", "::1/128"))
    assert [note["address"] for note in real.notes] == ["10.77.77.1/32", "fd77::1/128"]
    assert "inet 10.77.77.1 netmask 0xffffffff" in listing()
    real.create(("ip4.addr", "10.77.77.1"), ("ip6.addr", "fd77::1"))
    real.undo()
    real.undo()

    assert listing() == before
    with pytest.raises(HostError, match="interface nosuch0 does not exist"):
        real.apply(Alias("nosuch0", "inet", "10.77.77.1/32"))


def test_an_own_network_stack(real: Real) -> None:
    made = subprocess.run(["ifconfig", "epair", "create"], capture_output=True, text=True, check=True).stdout.strip()
    inner = f"{made[:-1]}b"
    try:
        real.create(("vnet", "new"))
        real.apply(MoveInterface(inner), Loopback())
        inside = subprocess.run(["ifconfig", "-j", real.name], capture_output=True, text=True, check=True).stdout
        assert "inet 127.0.0.1" in inside
        assert inner in inside
        real.undo()
        assert subprocess.run(["ifconfig", inner], capture_output=True, check=False).returncode == 0
        real.undo()
        with pytest.raises(HostError, match="interface nosuch0 does not exist"):
            real.apply(MoveInterface("nosuch0"))
    finally:
        real.notes.clear()
        subprocess.run(["ifconfig", made, "destroy"], check=True)


# Limits ---------------------------------------------------------------------------------------------------------------


def wait_for_memory(real: Real) -> dict[str, Any]:
    """The kernel counts memory about once a second."""
    for _ in range(50):
        data = real.host.usage(real.box)
        if data["memory"]["usage"]["usage"]:
            break
        time.sleep(0.1)
    return data


def test_limits_and_usage(real: Real) -> None:
    real.apply(Limits(real.name, ("maxproc:deny=20", "memoryuse:sigkill=134217728")))
    real.create()
    pid = real.sleeper()

    data = wait_for_memory(real)
    real.apply(Limits(real.name, ("maxproc:deny=30",), removed=("memoryuse:sigkill", "pcpu:deny")))

    assert data["pids"] == {"current": 1, "limit": 20}
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["usage"]["limit"] == 134217728
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {f"jail:{real.name}:maxproc:deny": 30}
    with pytest.raises(HostError, match=f"jail:{real.name}:cputime:deny=5: Operation not supported"):
        real.apply(Limits(real.name, ("cputime:deny=5",)))
    real.undo()
    os.waitpid(pid, 0)
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {}


# Terminals ------------------------------------------------------------------------------------------------------------


def test_a_console(real: Real) -> None:
    real.create()
    process = Process(("x",), user=User(1000, 1000), console_size=(33, 99))
    master, slave = real.host.open_console(process, real.box)

    def work() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        size = struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))
        return size[:2], os.fstat(slave).st_uid, os.isatty(slave)

    said = real.inside(work, [slave])
    os.close(slave)
    os.close(master)

    assert said == "((33, 99), 1000, True)"


def test_check_finds_this_machine_good_enough(real: Real) -> None:
    rows = {what: works for what, works, _, _ in real.host.check()}

    assert rows["root"]
    assert rows["devfs rules"]


# ZFS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset() -> Iterator[str]:
    listed = subprocess.run(["zpool", "list", "-Ho", "name"], capture_output=True, text=True, check=False)
    if not listed.stdout.split():
        pytest.skip("needs a ZFS pool")
    name = f"{listed.stdout.split()[0]}/rjtest{os.getpid()}"
    subprocess.run(["zfs", "create", "-o", "mountpoint=legacy", name], check=True)
    yield name
    subprocess.run(["zfs", "destroy", name], check=True)


def test_a_dataset_is_mounted_as_protected_as_asked(real: Real, dataset: str) -> None:
    """ZFS takes no flag bits and ignores the word nosuid."""
    data = (("ro", ""), ("nosetuid", ""), ("noexec", ""))

    real.apply(Mount("zfs", dataset, "/data", flags=("ro", "nosuid", "noexec"), data=data))
    flags = real.libc.statfs(str(real.root / "data")).flags
    real.undo()

    assert flags & 0xD == 0xD
    with pytest.raises(HostError, match=r"the kernel ignored nosuid$"):
        real.apply(Mount("zfs", dataset, "/data", flags=("nosuid",), data=(("nosuid", ""),)))
    with pytest.raises(HostError, match="its source does not exist"):
        real.apply(Mount("zfs", f"{dataset}/nonesuch", "/data"))
    real.undo()
