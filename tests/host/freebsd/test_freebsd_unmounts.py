"""Views that are read-only, and the way back of every mount."""

import errno
import os
from collections.abc import Callable

import pytest

from runjail import rootfs
from runjail.errors import HostError
from runjail.host.freebsd import libc as c
from runjail.steps import Mount, ReadonlyRoot
from tests.support.host.fake_libc import FakeKernel, Refusal
from tests.support.host.machine import Machine, nmounts

# A read-only root ---------------------------------------------------------------------------------------------------


def mount_readonly_root(machine: Machine, directory: str = "") -> str:
    view = f"{machine.state}/rootfs"
    machine.apply(ReadonlyRoot(str(machine.root), view, directory))
    machine.host_state.root = view
    return view


def test_a_view_is_a_read_only_nullfs(machine: Machine) -> None:
    view = mount_readonly_root(machine)

    assert nmounts(machine) == [({"fstype": "nullfs", "fspath": view, "from": str(machine.root)}, c.MNT_RDONLY)]
    machine.undo()
    assert machine.kernel.paths() == []
    assert not os.path.exists(view)


def test_the_working_directory_is_made_behind_the_view(machine: Machine) -> None:
    """Below the root, whatever links the image has; it goes with the container when nothing is in it."""
    (machine.root / "link").symlink_to("/../elsewhere")
    mount_readonly_root(machine, "/link/deep")

    assert (machine.root / "elsewhere" / "deep").is_dir()
    machine.undo()
    assert not (machine.root / "elsewhere").exists()


def test_a_working_directory_that_cannot_be_made_is_left_to_the_program(machine: Machine) -> None:
    (machine.root / "file").touch()
    view = mount_readonly_root(machine, "/file/deep")

    assert os.path.isdir(view)


def test_a_view_that_is_not_read_only_is_an_error(machine: Machine) -> None:
    machine.kernel.ignored_flags = c.MNT_RDONLY

    with pytest.raises(HostError, match="the kernel ignored ro"):
        mount_readonly_root(machine)


def test_a_view_of_nothing_is_an_error(machine: Machine) -> None:
    machine.kernel.refuse["nmount"] = Refusal(errno.ENOENT)

    with pytest.raises(HostError, match=r"mount .* read-only on .*: its source does not exist"):
        mount_readonly_root(machine)


def test_undoing_a_view_unmounts_what_is_still_below_it(machine: Machine) -> None:
    """Whoever deletes the state directory with a volume still mounted in it deletes the volume's files."""
    view = mount_readonly_root(machine)
    machine.kernel.add_mount(f"{view}/volume", busy=1)

    machine.undo()
    machine.undo()

    assert machine.kernel.paths() == []


def refuse_first(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the first attempts to make a mount point fail as on a read-only file system."""
    left, real = [True] * times, rootfs.mount_point

    def refuse(root: int, path: str, directory: bool, making: Callable[[str], None]) -> rootfs.ResolvedPath:
        if left and path:
            left.pop()
            raise OSError(errno.EROFS, "Read-only file system")
        return real(root, path, directory, making)

    monkeypatch.setattr(rootfs, "mount_point", refuse)


def test_mount_points_for_a_view_are_made_behind_it(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_readonly_root(machine)
    machine.host_state.root = str(machine.root)
    machine.host_state.source = f"{machine.root}/."  # it shows what is behind it
    refuse_first(monkeypatch, 1)

    machine.apply(Mount("nullfs", volume, "/data"))

    assert machine.notes[1] == {"undo": "made", "root": machine.host_state.source, "path": "data/"}
    assert machine.kernel.paths()[-1] == f"{machine.root}/data"


def test_mount_points_in_a_volume_on_a_view_are_made_in_the_volume(machine: Machine, volume: str) -> None:
    """The view is read-only, the volume in it is not."""
    view = mount_readonly_root(machine)

    machine.apply(Mount("nullfs", volume, "/data/sub"))

    assert [note["root"] for note in machine.notes if note["undo"] == "made"] == [view, view]


def test_a_view_whose_mount_point_cannot_be_made_says_why(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in a volume that is mounted read-only: what is made behind the view does not show."""
    mount_readonly_root(machine)
    real, refused = rootfs.mount_point, []

    def refuse(root: int, path: str, directory: bool, making: Callable[[str], None]) -> rootfs.ResolvedPath:
        if os.fstat(root).st_ino == os.stat(machine.host_state.root).st_ino:
            refused.append(path)
            raise OSError(errno.EROFS, "Read-only file system")
        return real(root, path, directory, making)

    monkeypatch.setattr(rootfs, "mount_point", refuse)

    with pytest.raises(HostError, match="cannot be made, the file system is read-only"):
        machine.apply(Mount("nullfs", volume, "/data"))
    assert refused == ["/data", "/data"]


# The way back -------------------------------------------------------------------------------------------------------


def test_unmounting_is_newest_first_and_patient(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))
    machine.kernel.add_mount(f"{machine.root}/a/b", busy=1)

    machine.undo()

    unmounts = [call[1:] for call in machine.kernel.calls if call[0] == "unmount"]
    a, b = f"{machine.root}/a", f"{machine.root}/a/b"
    assert unmounts == [(b, False), (a, False), (b, False), (a, False)]


def test_what_stays_busy_goes_by_force(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))
    machine.kernel.mounts[-1].busy = 1000

    machine.undo()

    assert machine.kernel.paths() == []
    assert machine.kernel.calls[-1] == ("unmount", f"{machine.root}/a", True)


def test_what_stays_is_named(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))
    machine.kernel.refuse["unmount"] = Refusal(errno.EPERM)

    with pytest.raises(HostError, match=f"unmount {machine.root}/a: not allowed"):
        machine.undo()


def test_what_somebody_unmounted_meanwhile_is_success(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))

    def vanish(kernel: FakeKernel, name: bytes, flags: int) -> None:
        del kernel.mounts[2:]
        raise Refusal(errno.ENOENT)

    monkeypatch.setattr(FakeKernel, "_unmount", vanish)
    machine.host = type(machine.host)(machine.kernel.libc())

    machine.undo()

    assert machine.kernel.paths() == []


def test_a_root_that_is_gone_is_success(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))
    machine.kernel.mounts.pop()
    (machine.root / "a").rmdir()
    machine.root.rmdir()

    machine.undo()


def test_mounts_of_another_boot_are_not_ours(machine: Machine, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/a"))
    machine.reboot()

    machine.undo()

    assert machine.kernel.paths() == [f"{machine.root}/a"]
