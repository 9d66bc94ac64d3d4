"""Containers that share a root directory: on FreeBSD each sees the mounts of all, and takes back only its own."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from runjail import rootfs
from runjail.host.freebsd import mounts, owners
from runjail.steps import CreateJail, Mount
from tests.support.host.machine import Machine, Other


def test_each_takes_back_its_own(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/more"))
    machine.apply(Mount("tmpfs", "tmpfs", "/tmp"))

    machine.undo()
    assert machine.kernel.paths() == [f"{machine.root}/more"]

    other.undo()
    assert machine.kernel.paths() == []


def test_where_both_have_mounted_on_one_place(machine: Machine, other: Other, volume: str) -> None:
    """The lower one cannot go before the upper one, which is the other's."""
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    theirs = machine.kernel.mounts[-1]

    machine.undo()
    assert theirs in machine.kernel.mounts
    assert not any(call[0] == "unmount" and call[2] for call in machine.kernel.calls)

    other.undo()
    assert machine.kernel.paths() == []


def test_the_second_goes_first(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.apply(Mount("nullfs", volume, "/late"))

    other.undo()
    assert machine.kernel.paths() == [f"{machine.root}/data", f"{machine.root}/late"]

    machine.undo()
    assert machine.kernel.paths() == []


def test_what_the_other_keeps_busy_is_left_to_it(machine: Machine, other: Other, volume: str) -> None:
    """Force would take it from under the other's processes. The last one has nobody to respect."""
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data/sub"))

    machine.undo()
    shutil.rmtree(machine.state)
    assert machine.kernel.paths() == [f"{machine.root}/data", f"{machine.root}/data/sub"]
    assert not any(call[0] == "unmount" and call[2] for call in machine.kernel.calls)

    machine.kernel.mounts[2].busy = 1000
    other.undo()
    assert machine.kernel.paths() == []
    assert os.listdir(machine.base / "runjail-mounts") == []


def test_what_a_dead_one_left_goes_with_the_last(machine: Machine, other: Other, volume: str) -> None:
    """Its state directory was removed by hand: nobody will ever take that mount back but who is there now."""
    machine.apply(Mount("nullfs", volume, "/data"))
    shutil.rmtree(machine.state)
    other.apply(Mount("nullfs", volume, "/more"))

    other.undo()

    assert machine.kernel.paths() == []


def test_records_of_mounts_that_are_gone_go_too(machine: Machine, other: Other, volume: str) -> None:
    """A delete that was killed had unmounted one, and the administrator another; notes about mounts stay."""
    machine.apply(Mount("nullfs", volume, "/data"))
    machine.apply(Mount("tmpfs", "tmpfs", "/tmp"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.kernel.mounts.pop()
    machine.kernel.mounts.pop()
    records = machine.base / "runjail-mounts"
    (records / "left").write_text("[]")
    assert len(os.listdir(records)) == 4

    other.undo()
    assert len(os.listdir(records)) == 2

    machine.undo()
    assert os.listdir(records) == ["left"]


def test_a_stranger_stays_while_another_jail_has_the_root(machine: Machine, volume: str) -> None:
    """It may be what that jail mounted itself."""
    machine.apply(Mount("nullfs", volume, "/data"))
    stranger = machine.kernel.add_mount(f"{machine.root}/stranger")
    machine.kernel.jails[9] = ("another", os.path.realpath(machine.root))

    machine.undo()
    assert machine.kernel.paths() == [stranger.path]

    del machine.kernel.jails[9]
    machine.undo()
    assert machine.kernel.paths() == []


def test_a_jail_that_may_mount_takes_no_mount_of_another_along(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(CreateJail("web", (("name", "web"), ("path", str(machine.root)), ("allow.mount", None))))
    other.apply(Mount("nullfs", volume, "/data"))

    machine.undo()

    assert machine.kernel.paths() == [f"{machine.root}/data"]
    other.undo()


def test_a_mount_point_that_another_removes_meanwhile_is_made_again(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and the mount: the container that had made it was deleted."""
    (machine.root / "data").mkdir()
    check, times = mounts._Mounting._check_place, [1, 1]

    def vanish(mounting: Any, place: rootfs.ResolvedPath) -> None:
        check(mounting, place)
        if times:
            times.pop()
            os.rmdir(place.name, dir_fd=place.parent)

    monkeypatch.setattr(mounts._Mounting, "_check_place", vanish)
    machine.apply(Mount("nullfs", volume, "/data"))

    assert machine.kernel.paths() == [f"{machine.root}/data"]


def in_another_file_system(monkeypatch: pytest.MonkeyPatch, root: str) -> Callable[[], None]:
    """Let everything below a root look as if it were on a mount of its own. Returns what ends that."""
    real, inode = os.fstat, os.stat(root).st_ino

    def fstat(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if found.st_ino == inode:
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]])

    monkeypatch.setattr(os, "fstat", fstat)
    return lambda: monkeypatch.setattr(os, "fstat", real)


def test_what_was_made_in_a_mount_is_not_looked_for_below_it(
    machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image has an empty directory where we made one in a tmpfs: after the tmpfs is gone it stays."""
    (machine.root / "run").mkdir()
    mounted = in_another_file_system(monkeypatch, str(machine.root))
    machine.apply(Mount("nullfs", volume, "/run/lock"))
    mounted()

    (made,) = (note for note in machine.notes if note["undo"] == "made")
    assert made["device"] == os.stat(machine.root).st_dev + 1
    machine.undo()
    assert (machine.root / "run" / "lock").is_dir()


def test_nor_after_a_restart(machine: Machine, volume: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "run").mkdir()
    in_another_file_system(monkeypatch, str(machine.root))
    machine.apply(Mount("nullfs", volume, "/run/lock"))
    machine.reboot()

    machine.undo()

    assert (machine.root / "run" / "lock").is_dir()


def test_an_owner_is_a_directory_and_not_a_name(machine: Machine) -> None:
    """A container of the same id that comes later owns nothing of the first one's."""
    owners.write((5, 6), "kernel 1 2", owners.token(str(machine.state)))
    assert owners.read((5, 6), "kernel 1 2") == owners.token(str(machine.state))
    assert owners.read((5, 6), "kernel 3 4") is None

    shutil.move(machine.state, machine.base / "moved")
    machine.state.mkdir()
    assert owners.read((5, 6), "kernel 1 2") == owners.NOBODY

    owners.leave((7, 8), "kernel 1 2")
    owners.forget((7, 8), "kernel 1 2")
    assert owners.read((7, 8), "kernel 1 2") is None
