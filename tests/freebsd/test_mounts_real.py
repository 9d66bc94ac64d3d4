"""Mounts, devfs and ZFS on a real kernel, with the traps the host was written around."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.steps import Mount, ReadonlyRoot
from tests.support.freebsd.real import Real
from tests.support.host.noted import Noted

if sys.platform.startswith("freebsd"):
    pass

pytestmark = pytest.mark.freebsd


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
    """HOST PATH WAS MOUNTED ON! is what this must never say.

    FreeBSD 15.1 loses something on the way: the next shutdown stops after "All buffers synced.".
    """
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
                real.host.undo(real.notes.pop(), real.host_state)
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
    real.host_state.root = view

    real.apply(Mount("tmpfs", "tmpfs", "/made/tmp"), Mount("tmpfs", "tmpfs", "/made/tmp/deeper"))
    real.create(("enforce_statfs", "1"))

    assert real.mounts() == ["made/tmp", "made/tmp/deeper"]
    assert "Read-only file system" in real.inside(lambda: open("/file", "w"))
    pid = real.sleeper()
    real.host.kill_all(real.host_state, signal.SIGKILL)
    assert os.path.isdir(real.root / "made/tmp")
    os.waitpid(pid, 0)
    real.undo()
    assert not os.path.exists(view)
    assert not os.path.exists(real.root / "made")


def test_a_dying_jail_does_not_keep_the_view(real: Real) -> None:
    """An unreaped zombie pins the root directory: after the patience it is unmounted by force."""
    view = str(real.state / "rootfs")
    real.apply(ReadonlyRoot(str(real.root), view))
    real.host_state.root = view
    real.create()
    pid = real.sleeper()

    real.undo()

    assert not os.path.exists(view)
    os.waitpid(pid, 0)


class Beside(Noted):
    """Another container of the same root, with a state directory of its own."""

    def __init__(self, real: Real) -> None:
        super().__init__()
        self.host = real.host
        state = real.base / "beside"
        state.mkdir()
        self.host_state = HostState("beside", "beside", str(state), str(real.root), str(real.root))


def test_containers_of_one_root_take_back_their_own(real: Real) -> None:
    """Both have mounted on one place; the kernel knows the two mounts apart by their ids."""
    volume, beside = real.base / "volume", Beside(real)
    volume.mkdir()
    (volume / "file").write_text("kept")
    real.apply(Mount("nullfs", str(volume), "/data"), Mount("tmpfs", "tmpfs", "/tmp"))
    beside.apply(Mount("nullfs", str(volume), "/more"))
    beside.apply(Mount("tmpfs", "tmpfs", "/tmp"))

    real.undo()
    assert set(real.mounts()) == {"more", "tmp"}  # the one below the other's on /tmp cannot go yet
    assert (real.root / "more/file").read_text() == "kept"

    beside.undo()
    assert real.mounts() == []


def test_a_file_of_a_shared_root_is_mounted_on_once(real: Real) -> None:
    """The second container is told what the kernel only calls busy, and the first one keeps what it has."""
    beside = Beside(real)
    for name in ("ours", "theirs"):
        (real.base / name).write_text(name)
    real.apply(Mount("nullfs", str(real.base / "ours"), "/etc/passwd"))

    with pytest.raises(HostError, match=r"\(nullfs\) on /etc/passwd: device busy$") as caught:
        beside.apply(Mount("nullfs", str(real.base / "theirs"), "/etc/passwd"))
    assert (caught.value.hint or "").startswith("if another container uses this root directory")

    beside.undo()
    assert (real.mounts(), (real.root / "etc/passwd").read_text()) == (["etc/passwd"], "ours")


def test_what_another_container_keeps_busy_is_left_to_it(real: Real) -> None:
    volume, beside = real.base / "volume", Beside(real)
    (volume / "sub").mkdir(parents=True)
    real.apply(Mount("nullfs", str(volume), "/data"))
    beside.apply(Mount("tmpfs", "tmpfs", "/data/sub"))

    real.undo()
    assert real.mounts() == ["data", "data/sub"]

    beside.undo()
    assert real.mounts() == []


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

    with pytest.raises(HostError, match="it would cover itself") as caught:
        real.apply(Mount("nullfs", "/etc", "/tmp"))
    assert (caught.value.hint or "").startswith("if another container uses this root directory")


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
