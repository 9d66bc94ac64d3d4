"""Marks on control groups of an ordinary user's, who may not set those of root: systemd delegates such groups."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.host.base import HostState
from runjail.host.linux import cgroup_users, cgroups
from runjail.host.linux.change import Change, NewRoot
from tests.support.needs import ORDINARY

pytestmark = [pytest.mark.linux, pytest.mark.needs("root")]


@pytest.fixture
def ordinary(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be an ordinary user for a while, who owns the top of the hierarchy."""
    (place / "cgroup.controllers").touch()
    os.chown(place, ORDINARY, ORDINARY)
    monkeypatch.setattr(cgroups, "TOP", str(place))
    monkeypatch.setattr(cgroups, "_mark", [])
    monkeypatch.setattr(cgroups, "write", lambda *_: None)
    os.seteuid(ORDINARY)
    yield place
    os.seteuid(0)


def change() -> Change:
    state = HostState(id="web", name="web", state="", source="", root="")
    return Change(state, lambda _note: None, NewRoot(), lambda _state: [])


def test_a_group_is_made_and_taken_back(ordinary: Path) -> None:
    """The marks were refused, and so the container lost a group that it could have had."""
    made = [f"{ordinary}/a", f"{ordinary}/a/web"]
    cgroup_users.make(cgroups.directories("a/web"), "1")

    assert "user.runjail.1" in os.listxattr(made[1])
    cgroup_users.take_back(change(), {"path": "a/web", "made": made, "user": "1"})
    assert os.listdir(ordinary) == ["cgroup.controllers"]


def test_a_group_that_another_uses_stays(ordinary: Path) -> None:
    cgroup_users.make(cgroups.directories("a/web"), "1")
    cgroup_users.make(cgroups.directories("a/web"), "2")
    note = {"path": "a/web", "made": [f"{ordinary}/a", f"{ordinary}/a/web"], "user": "1"}
    cgroup_users.take_back(change(), note)

    assert (ordinary / "a/web").is_dir()
    cgroup_users.take_back(change(), {**note, "made": [], "user": "2"})
    assert not (ordinary / "a").exists()


def test_a_group_of_roots_that_came_later_stays(ordinary: Path) -> None:
    """The user could make none, which the note does not know: `delete` said that the group still has processes."""
    os.seteuid(0)
    (ordinary / "runjail/web").mkdir(parents=True)
    os.seteuid(ORDINARY)
    note = {"path": "runjail/web", "made": [f"{ordinary}/runjail", f"{ordinary}/runjail/web"], "user": "1"}
    cgroup_users.take_back(change(), note)

    assert (ordinary / "runjail/web").is_dir()


def test_a_kernel_without_marks(ordinary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each container removes what it made itself."""
    monkeypatch.setattr(cgroups, "_mark", ["trusted.runjail"])
    made = [f"{ordinary}/web"]
    cgroup_users.make(cgroups.directories("web"), "1")

    assert os.listxattr(made[0]) == []
    cgroup_users.take_back(change(), {"path": "web", "made": made, "user": "1"})
    assert not (ordinary / "web").exists()
