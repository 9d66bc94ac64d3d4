"""libc.py through the C calling convention, against a kernel of Python."""

import errno
import os
import struct
import subprocess
import sys

import pytest

from runjail.host.freebsd import libc as c
from runjail.host.freebsd import structs
from runjail.host.freebsd.structs import Jail, MountEntry, Proc
from tests.support.host.fake_libc import FakeKernel, Refusal
from tests.support.leaks import Held


@pytest.fixture
def kernel() -> FakeKernel:
    fake = FakeKernel()
    fake.jails = {7: ("web", "/jr"), 9: ("web.kid", "/jr/kid")}
    return fake


@pytest.fixture
def libc(kernel: FakeKernel) -> c.Libc:
    return kernel.libc()


def test_jails_are_found_by_name_and_by_jid(libc: c.Libc) -> None:
    assert libc.jail("web") == libc.jail(7) == Jail(7, "web", "/jr")


@pytest.mark.parametrize("which", ["nosuch", 99, "7"])
def test_no_jail_is_none(libc: c.Libc, which: int | str) -> None:
    """A name of digits is a name: only command line tools take it for a jid."""
    assert libc.jail(which) is None


def test_dying_jails_are_hidden_unless_asked_for(libc: c.Libc, kernel: FakeKernel) -> None:
    kernel.dying[7] = 5

    assert libc.jail(7) is None
    assert libc.jail("web") is None
    assert libc.jail(7, dying=True) == Jail(7, "web", "/jr")


def test_all_jails_are_listed(libc: c.Libc) -> None:
    assert [prison.name for prison in libc.jails()] == ["web", "web.kid"]


@pytest.mark.parametrize("ask", [lambda libc: libc.jail("web"), lambda libc: list(libc.jails())])
def test_other_failures_of_jail_get_are_errors(libc: c.Libc, kernel: FakeKernel, ask: object) -> None:
    kernel.refuse["jail_get"] = Refusal(errno.EPERM, "jail_get: not for you")

    with pytest.raises(PermissionError, match="not for you"):
        ask(libc)  # type: ignore[operator]


def test_a_nul_in_a_name_never_reaches_the_kernel(libc: c.Libc) -> None:
    """The kernel would look up the part before it, which is another jail."""
    with pytest.raises(OSError, match="NUL"):
        libc.jail("web\0x")


def test_an_error_without_text_gets_the_system_s(libc: c.Libc) -> None:
    with pytest.raises(OSError) as caught:
        libc.jail_remove(99)

    assert (caught.value.errno, caught.value.strerror) == (errno.EINVAL, os.strerror(errno.EINVAL))


def test_nmount_passes_names_values_and_bare_options(libc: c.Libc, kernel: FakeKernel, tmp_path: object) -> None:
    libc.nmount([("fstype", "tmpfs"), ("fspath", str(tmp_path)), ("size", "1m"), ("nonc", None)], c.MNT_NOSUID)

    wanted = {"fstype": "tmpfs", "fspath": str(tmp_path), "size": "1m", "nonc": ""}
    assert kernel.calls == [("nmount", wanted, c.MNT_NOSUID)]


def test_nmount_errors_carry_the_kernel_s_text(libc: c.Libc) -> None:
    with pytest.raises(OSError, match="mount option <nodev> is unknown"):
        libc.nmount([("fstype", "tmpfs"), ("fspath", "/"), ("nodev", None)], 0)


def test_the_mount_table_is_read_whole(libc: c.Libc, kernel: FakeKernel) -> None:
    for number in range(40):
        kernel.add_mount(f"/m/{number}")

    table = libc.mounts()

    assert [mounted.path for mounted in table] == ["/", "/dev", *(f"/m/{number}" for number in range(40))]
    assert table[2] == MountEntry((102, -102), "nullfs", "/src", "/m/0", 0)


def test_a_table_that_grows_meanwhile_is_read_again(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """getfsstat fills what fits and says nothing of the rest."""
    answer = FakeKernel._getfsstat

    def grow(fake: FakeKernel, buffer: int | None, size: int, mode: int) -> int:
        if buffer is None:
            return 1
        while len(fake.mounts) < 30:
            fake.add_mount(f"/m/{len(fake.mounts)}")
        return answer(fake, buffer, size, mode)

    monkeypatch.setattr(FakeKernel, "_getfsstat", grow)

    assert len(kernel.libc().mounts()) == 30


def test_another_layout_of_statfs_is_refused() -> None:
    """Reading ids from the wrong place would unmount somebody else's file system."""
    with pytest.raises(OSError, match="struct statfs has version 0x20200101, not 0x20140518"):
        structs.read_statfs(struct.pack("I", 0x20200101) + bytes(structs.STATFS_SIZE - 4))


def test_unmount_is_by_file_system_id(libc: c.Libc, kernel: FakeKernel) -> None:
    mount = kernel.add_mount("/m")

    libc.unmount(mount.fsid)

    assert kernel.calls == [("unmount", "/m", False)]
    with pytest.raises(FileNotFoundError):
        libc.unmount(mount.fsid, force=True)


def test_processes_are_read_with_start_state_and_jid(libc: c.Libc, kernel: FakeKernel) -> None:
    kernel.add_process(50, jid=7, start=77, state=5, command="sleep", runtime=11, resident=12)

    wanted = Proc(50, kernel.boottime + 77, 5, 7, "sleep", 11, 12)
    assert libc.process(50) == wanted
    assert libc.processes()[-1] == wanted


def test_no_process_is_none(libc: c.Libc) -> None:
    assert libc.process(4711) is None


def test_other_failures_of_sysctl_are_errors(libc: c.Libc, kernel: FakeKernel) -> None:
    kernel.refuse["sysctl"] = Refusal(errno.EPERM)

    with pytest.raises(PermissionError):
        libc.process(9)


def test_a_process_table_that_grows_meanwhile_is_read_again(
    libc: c.Libc, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = FakeKernel._answer, []

    def shrink(fake: FakeKernel, data: bytes, out: int | None, size: int) -> None:
        asked.append(out)
        if out is not None and len(asked) < 5:
            raise Refusal(errno.ENOMEM)
        answer(fake, data, out, size)

    monkeypatch.setattr(FakeKernel, "_answer", shrink)

    assert [proc.pid for proc in libc.processes()] == [9]


def test_sysctl_failing_for_lack_of_right_is_an_error_too(
    libc: c.Libc, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fake: FakeKernel, data: bytes, out: int | None, size: int) -> None:
        if out is not None:
            raise Refusal(errno.EPERM)

    monkeypatch.setattr(FakeKernel, "_answer", refuse)

    with pytest.raises(PermissionError):
        libc.processes()


def test_another_layout_of_kinfo_proc_is_refused() -> None:
    with pytest.raises(OSError, match="struct kinfo_proc has 1096 bytes, not 1088"):
        structs.read_kinfo(struct.pack("i", 1096) + bytes(1092))


def test_boottime_is_in_microseconds(libc: c.Libc) -> None:
    assert libc.boottime() == 1795380979_100253


def test_cpus_become_a_mask_of_longs(libc: c.Libc, kernel: FakeKernel) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        libc.set_jail_cpus(7, [0, 63, 64, 1023])

    assert kernel.calls == [("cpuset", 3, 5, 7, [0, 63, 64, 1023])]


def test_usage_and_rules_are_read(libc: c.Libc, kernel: FakeKernel) -> None:
    kernel.racct["jail:web"] = "cputime=10,memoryuse=2048"
    libc.rctl_add_rule("jail:web:maxproc:deny=5")

    assert libc.rctl_get_racct("jail:web") == {"cputime": 10, "memoryuse": 2048}
    assert libc.rctl_get_rules("jail:web") == {"jail:web:maxproc:deny": 5}
    assert libc.rctl_get_rules("jail:other") == {}


def test_a_terminal_is_opened(libc: c.Libc) -> None:
    master, path = libc.open_terminal()
    os.close(master)

    assert path.startswith("/dev/pts/")


def test_a_terminal_without_a_name_is_closed_again(libc: c.Libc, kernel: FakeKernel) -> None:
    kernel.pts = "none"
    before = Held()

    with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
        libc.open_terminal()

    assert before.more() == []


def test_nothing_is_loaded_before_it_is_needed() -> None:
    """Tools and tests import this on any system, and each verb pays only for the calls it makes."""

    def find(name: str) -> int:
        raise AssertionError(f"{name} was looked up")

    c.Libc(find)


def test_the_expensive_half_of_ctypes_stays_out() -> None:
    """It would cost `state` a fifth of its time."""
    script = "import sys, runjail.host.freebsd.host; sys.exit('ctypes' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_load_finds_functions_of_this_process() -> None:
    assert c.load()._find("getpid") > 0
