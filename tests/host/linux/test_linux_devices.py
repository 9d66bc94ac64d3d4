"""Device rules in control groups v1, with the kernel's own lists."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import cgroup_move, cgroup_settings, cgroups
from runjail.host.linux import devices as linux_devices
from runjail.plan.device_rules import policy
from runjail.spec.model import Resources
from runjail.steps import Cgroup, DevicePolicy
from tests.support.program import Bundle, Runjail

pytestmark = [
    pytest.mark.linux,
    pytest.mark.skipif(not os.access("/sys/fs/cgroup/devices", os.W_OK), reason="needs control groups v1 for devices"),
]

ZERO, FULL = ("c", 1, 5, "rwm"), ("c", 1, 7, "rwm")


class Group:
    """A control group of every hierarchy of v1, for one test."""

    def __init__(self, path: str) -> None:
        self.path, self.directory = path, Path("/sys/fs/cgroup/devices") / path
        self.host_state = HostState("c", "c", "", "", "")
        self.notes: list[dict[str, Any]] = []

    def enforce(self, allow: bool, *rules: tuple[str, int, int, str]) -> list[str]:
        """Put a policy into force and return the list that the kernel shows."""
        self.directory.mkdir(parents=True, exist_ok=True)
        linux_devices.enforce(self.path, allow, rules)
        return sorted((self.directory / "devices.list").read_text().splitlines())

    def opens(self, *devices: str) -> list[bool]:
        """Return which device files a process in the group can read."""
        script = f"echo $$ > {self.directory}/cgroup.procs; " + "".join(
            f"(exec < {device}) 2>&- && echo yes || echo no; " for device in devices
        )
        done = subprocess.run(["sh", "-c", script], stdin=subprocess.PIPE, capture_output=True, text=True, check=True)
        return [answer == "yes" for answer in done.stdout.split()]


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group(f"runjail-test-devices-{os.getpid()}")
    yield made
    for directory in cgroups.directories(made.path):
        for below, _, _ in os.walk(directory, topdown=False):
            os.rmdir(below)


def test_a_policy_is_what_the_kernel_shows(group: Group) -> None:
    usual = policy((), (), [])

    assert len(group.enforce(usual.allow, *usual.rules)) == len(usual.rules)
    assert group.opens("/dev/zero", "/dev/full", "/dev/loop-control") == [True, True, False]


def test_a_later_policy_takes_the_place_of_an_earlier_one(group: Group) -> None:
    group.enforce(False, ZERO, ("b", 7, -1, "rw"))

    assert group.enforce(False, ("c", 1, 5, "r"), FULL) == ["c 1:5 r", "c 1:7 rwm"]
    assert group.enforce(True) == ["a *:* rwm"]
    assert group.enforce(False, FULL) == ["c 1:7 rwm"]


def test_what_is_forbidden_where_everything_is_allowed(group: Group) -> None:
    assert group.enforce(True, ZERO) == ["a *:* rwm"]  # the kernel shows no more
    assert group.opens("/dev/zero", "/dev/full") == [False, True]

    group.enforce(True, FULL)
    assert group.opens("/dev/zero", "/dev/full") == [True, False]


def test_what_the_group_above_forbids_stays_forbidden(group: Group) -> None:
    """As in a container that runs containers: what it may not do itself it cannot allow, and need not."""
    group.enforce(False, FULL)
    inner = Group(f"{group.path}/inner")

    assert inner.enforce(False, ZERO, FULL) == ["c 1:7 rwm"]
    assert inner.enforce(True) == ["c 1:7 rwm"]


def test_a_group_of_nobodys_choice_is_a_new_one(group: Group) -> None:
    """Containers of one id in two state directories must not share a group; a group that was asked for is shared."""
    for name in (group.path, f"{group.path}-2"):
        Path(f"/sys/fs/cgroup/pids/{name}").mkdir()
    try:
        assert cgroup_settings._unused(group.path) == f"{group.path}-3"
    finally:
        Path(f"/sys/fs/cgroup/pids/{group.path}-2").rmdir()


def test_a_container_that_moves_takes_its_policy_along(group: Group) -> None:
    """An NRI plugin may ask for another group; no list of v1 says what the old one forbade."""
    group.host_state.devices = {"allow": True, "rules": [list(ZERO)], "enforced": True}
    cgroup_move.move(group.path, group.host_state, group.notes.append, list)

    assert group.opens("/dev/zero", "/dev/full") == [False, True]


def test_a_policy_that_needs_no_group_is_no_loss(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that a group alone can enforce is an error."""
    monkeypatch.setattr(cgroups, "TOP", "/proc/sys")  # where there are no groups
    for made, lacks in ((DevicePolicy(True, (), True), False), (DevicePolicy(False, (ZERO,), True), True)):
        host_state = HostState("c", "c", "", "", "")
        cgroup_settings.create(Cgroup("x", Resources(), made), host_state, group.notes.append)

        assert host_state.lacks_policy() == lacks
    with pytest.raises(HostError, match=r"linux\.resources\.devices cannot be enforced"):
        linux_devices.do_without(DevicePolicy(False, (), False), group.host_state)


def test_two_containers_of_one_id(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> None:
    """Each has its own group, and the end of one does nothing to the other's."""
    del bundle.config["linux"]["cgroupsPath"]
    other = Runjail(tmp_path)
    bundle.write()
    try:
        for program in (runjail, other):
            program.ok("create", "-b", str(bundle.path), "twin")
        runjail.ok("delete", "-f", "twin")

        other.ok("start", "twin")
        assert other.ok("exec", "twin", "sh", "-c", "exec < /dev/zero && echo opened").stdout == "opened\n"
    finally:
        other.ok("delete", "-f", "twin")

    assert not list(Path("/sys/fs/cgroup/devices/runjail").glob("twin*"))
