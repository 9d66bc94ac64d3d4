"""Mount points and mounts that a container leaves to others of its root directory, and what a killed one leaves."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runjail.host.freebsd import owners
from runjail.steps import Mount, ReadonlyRoot
from tests.support.host.machine import Machine, Other


class Killed(BaseException):
    """What stands for SIGKILL."""


def viewing(machine: Machine, name: str) -> Other:
    """Return a container that has a read-only view of the machine's root."""
    made = Other(machine, name, root=str(machine.base / name / "rootfs"))
    made.apply(ReadonlyRoot(str(machine.root), made.host_state.root))
    return made


def records(machine: Machine) -> list[str]:
    return os.listdir(machine.base / "runjail-mounts")


def test_the_last_one_removes_the_mount_point(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/deep/data"))
    other.apply(Mount("nullfs", volume, "/deep/data"))
    shared = machine.root / "deep" / "data"

    machine.undo()
    assert shared.is_dir()

    other.undo()
    assert os.listdir(machine.root) == []
    assert records(machine) == []


def test_one_that_comes_later_keeps_it_too(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.undo()
    machine.notes.clear()
    machine.apply(Mount("nullfs", volume, "/data"))

    other.undo()
    assert (machine.root / "data").is_dir()

    machine.undo()
    assert os.listdir(machine.root) == []


def test_what_is_filled_meanwhile_stays(machine: Machine, other: Other, volume: str) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.undo()
    (machine.root / "data" / "file").write_text("somebody's")

    other.undo()

    assert (machine.root / "data" / "file").read_text() == "somebody's"
    assert records(machine) == []


def test_a_root_that_is_another_one_by_now(machine: Machine, other: Other, volume: str) -> None:
    """It has an empty directory of that name of its own."""
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.undo()
    shutil.move(machine.root, machine.base / "before")
    (machine.root / "data").mkdir(parents=True)

    other.undo()

    assert (machine.root / "data").is_dir()
    assert records(machine) == []


def test_other_roots_are_left_alone(machine: Machine, other: Other, volume: str, tmp_path: Path) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.undo()
    root = machine.base / "third-root"
    root.mkdir()
    third = Other(machine, "third", root)
    third.apply(Mount("nullfs", volume, "/data"))
    third.undo()

    assert os.listdir(root) == []
    assert (machine.root / "data").is_dir()


@pytest.mark.parametrize("first", ["plain", "view"])
def test_a_view_uses_mount_points_of_its_root(machine: Machine, volume: str, first: str) -> None:
    """What a view's mount lies on can be removed behind it, and the mount with it."""
    one: Any = machine if first == "plain" else viewing(machine, "one")
    (machine.root / "data").mkdir()  # as `create` makes it behind a view
    one.notes.append({"undo": "made", "root": str(machine.root), "path": "data/"})
    two = viewing(machine, "two")
    (two.state / "rootfs" / "data").mkdir()  # what the view shows
    two.apply(Mount("nullfs", volume, "/data"))

    one.undo()
    assert (machine.root / "data").is_dir()

    (two.state / "rootfs" / "data").rmdir()
    two.undo()
    assert os.listdir(machine.root) == []


def killed_while_mounting(machine: Machine, other: Other, volume: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the other one be killed between its mount and writing down whose it is."""

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owners, "write", killed)
        with pytest.raises(Killed):
            other.apply(Mount("nullfs", volume, "/late"))
    assert f"{machine.root}/late" in machine.kernel.paths()


def test_a_mount_whose_maker_was_killed_is_its_own(
    machine: Machine, other: Other, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third container, made meanwhile, does not count it among what was there before."""
    killed_while_mounting(machine, other, volume, monkeypatch)
    machine.apply(Mount("nullfs", volume, "/data"))

    other.undo()
    assert machine.kernel.paths() == [f"{machine.root}/data"]

    machine.undo()
    assert machine.kernel.paths() == []
    assert records(machine) == [] and os.listdir(machine.root) == []


def test_nor_does_the_third_one_take_it_back(
    machine: Machine, other: Other, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.apply(Mount("nullfs", volume, "/data"))
    killed_while_mounting(machine, other, volume, monkeypatch)

    machine.undo()
    assert machine.kernel.paths() == [f"{machine.root}/late"]

    other.undo()
    assert machine.kernel.paths() == []


def test_who_was_killed_before_mounting_owns_nothing(machine: Machine, volume: str) -> None:
    """Not what was mounted there already."""
    (machine.root / "data").mkdir()
    stranger = machine.kernel.add_mount(f"{machine.root}/data")
    boot = machine.host.boot_id()
    owners.intend(machine.kernel.libc().mounts(), stranger.path, boot, "/somebody:1")
    owners.settle(machine.kernel.libc(), boot)

    assert owners.read(stranger.fsid, boot) is None
    assert records(machine) == []


@pytest.mark.parametrize("content", ["", "{", json.dumps([])[:1]])
def test_records_that_are_half_written(machine: Machine, other: Other, volume: str, content: str) -> None:
    """What they named stays; nothing fails."""
    directory = machine.base / "runjail-mounts"
    directory.mkdir()
    for name in ("left", f"{machine.host.boot_id().replace(' ', '-')}.mounting"):
        (directory / name).write_text(content)
    machine.apply(Mount("nullfs", volume, "/data"))
    other.apply(Mount("nullfs", volume, "/data"))
    machine.undo()
    other.undo()

    assert machine.kernel.paths() == []
    assert records(machine) == [] and os.listdir(machine.root) == []
