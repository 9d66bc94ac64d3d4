"""A container's scope: which properties limits are, and that nobody else's unit is touched. On plain files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import cgroups, dbus, scope, scope_limits, scope_properties, systemd
from runjail.spec.model import Resources
from runjail.steps import Scope
from tests.support.host.linux_change import change

if TYPE_CHECKING:
    from tests.support.host.fake_bus import FakeSystemd

pytestmark = pytest.mark.needs("linux", "module jeepney", "trusted attributes")

UNIT, PATH = "runjail-c.scope", "a.slice/runjail-c.scope"
NONE = 2**64 - 1


def limits(unified: bool = True, version: int = 252, **said: Any) -> dict[str, Any]:
    return {name: value for name, _, value in scope_properties.limits(Resources(**said), unified, version)}


def test_limits_are_properties_of_v2() -> None:
    """Swap is counted alone; 0 is "not said", but of processes, of which systemd takes no 0."""
    said = {"memory_limit": 100, "memory_reservation": 50, "memory_swap": 150, "cpu_shares": 1024, "cpu_quota": 25000}
    assert limits(**said, cpu_period=50000, cpus="0-1,9", mems="0", pids_limit=7) == {
        "MemoryMax": 100, "MemoryLow": 50, "MemorySwapMax": 50, "CPUWeight": 39, "CPUQuotaPeriodUSec": 50000,
        "CPUQuotaPerSecUSec": 500_000, "AllowedCPUs": b"\x03\x02", "AllowedMemoryNodes": b"\x01", "TasksMax": 7,
    }  # fmt: skip
    assert limits(memory_limit=0, cpu_shares=0, cpu_quota=0, pids_limit=0) == {"TasksMax": 1}
    assert limits(memory_limit=-1, cpu_quota=-1, pids_limit=-1) == {
        "MemoryMax": NONE, "MemorySwapMax": NONE, "CPUQuotaPerSecUSec": NONE, "TasksMax": NONE,
    }  # fmt: skip
    assert limits(memory_limit=100, memory_swap=100)["MemorySwapMax"] == 0
    assert limits() == {}


def test_v1_and_old_versions_have_other_properties() -> None:
    assert limits(unified=False, memory_limit=1, memory_swap=2, cpu_shares=3) == {"MemoryLimit": 1, "CPUShares": 3}
    assert limits(version=240, cpu_period=50000, cpu_quota=1, cpus="0") == {"CPUQuotaPerSecUSec": 10_000}


def test_a_quota_is_rounded_as_systemd_rounds_it() -> None:
    """12345 of 50000 are 24.69 %: systemd holds 25 %, and so does the file."""
    assert limits(cpu_quota=12345, cpu_period=50000)["CPUQuotaPerSecUSec"] == 250_000
    assert scope_properties.rounded(Resources(cpu_quota=12345, cpu_period=50000)).cpu_quota == 12500
    assert scope_properties.rounded(Resources(cpu_quota=-1)).cpu_quota == -1


@pytest.mark.parametrize("text", ["x", "3-1", "-1", ",", "1-", "0-x"])
def test_a_list_of_processors_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        scope_properties.bits(text)


def test_device_rules_that_systemd_cannot_hold_are_left_to_our_own_policy() -> None:
    """A wrong rule of systemd's would forbid what config.json allows; ours is in force in any case."""
    listed = [("c", 1, 3, "rwm"), ("c", 136, -1, "rw"), ("b", -1, -1, "m")]
    rules = [("/dev/char/1:3", "rwm"), ("char-136", "rw"), ("block-*", "m")]
    assert scope_properties.devices(False, listed)[1:] == [
        ("DevicePolicy", "s", "strict"),
        ("DeviceAllow", "a(ss)", tuple(rules)),
    ]
    auto = [("DeviceAllow", "a(ss)", ()), ("DevicePolicy", "s", "auto")]
    assert scope_properties.devices(True, listed) == auto
    assert scope_properties.devices(False, [*listed, ("c", -1, 5, "r")]) == auto


# With a systemd -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[FakeSystemd]":
    """A systemd whose units have directories in a tree of v2."""
    from tests.support.host.fake_bus import FakeSystemd

    made = FakeSystemd(tmp_path / "bus")
    top = tmp_path / "cgroup"
    top.mkdir()
    (top / "cgroup.controllers").write_text("memory pids")
    monkeypatch.setattr(cgroups, "TOP", str(top))
    monkeypatch.setattr(dbus, "SYSTEM", f"unix:path={made.path}")
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path))
    monkeypatch.setattr(systemd, "rootless", lambda: False)
    monkeypatch.setattr(scope, "GONE_SECONDS", 0.05)
    start, stop = systemd.Manager.start, systemd.Manager.stop

    def begin(self: systemd.Manager, unit: str, properties: Any) -> None:
        start(self, unit, properties)
        (top / PATH).mkdir(parents=True)
        for name in ("cgroup.procs", "pids.max", "memory.max", "cpu.max", "cgroup.freeze"):
            (top / PATH / name).write_text("")

    def end(self: systemd.Manager, unit: str) -> None:
        stop(self, unit)
        shutil.rmtree(top / PATH)

    monkeypatch.setattr(systemd.Manager, "start", begin)
    monkeypatch.setattr(systemd.Manager, "stop", end)
    yield made
    made.close()


@pytest.fixture
def host_state(tmp_path: Path) -> HostState:
    made = HostState("c", "c", str(tmp_path), "/", "/")
    made.pid, made.started = os.getpid(), "1"
    return made


def step(**limits: Any) -> Scope:
    return Scope(UNIT, "a.slice", "a.slice", "c", Resources(**limits), None, (("TimeoutStopUSec", "t", 5),))


def test_the_way_back_is_noted_before_systemd_is_asked(fake: "FakeSystemd", host_state: HostState) -> None:
    notes: list[dict[str, Any]] = []
    asked: list[list[str]] = []

    def note(fact: dict[str, Any]) -> None:
        notes.append(fact)
        asked.append(fake.members())

    scope.create(change(host_state, note), step(pids_limit=5))

    assert notes[0] == {"undo": "scope", "unit": UNIT, "user": False, "path": PATH}
    assert "StartTransientUnit" not in asked[0]
    assert notes[1] == {**notes[0], "invocation": "1234"}
    assert host_state.cgroup == PATH
    assert host_state.scope == {"unit": UNIT, "user": False, "invocation": "1234"}
    unit = fake.units[UNIT]
    assert (unit["PIDs"], unit["Delegate"], unit["TasksMax"], unit["TimeoutStopUSec"]) == ([os.getpid()], True, 5, 5)
    assert Path(cgroups.TOP, PATH, "pids.max").read_text() == "5"
    assert Path(cgroups.TOP, PATH, "cgroup.procs").read_text() == str(os.getpid())


def test_update_changes_the_unit_and_the_group(fake: "FakeSystemd", host_state: HostState) -> None:
    scope.create(change(host_state, lambda _note: None), step())

    left = scope_limits.update(Resources(pids_limit=9, cpu_quota=12345, cpu_period=50000), host_state)

    assert (fake.units[UNIT]["TasksMax"], fake.units[UNIT]["CPUQuotaPerSecUSec"]) == (9, 250_000)
    assert left.cpu_quota == 12500
    fake.refusal = ("x", "Value out of range.")
    with pytest.raises(HostError, match=f"systemd: changing {UNIT}: value out of range"):
        scope_limits.update(Resources(pids_limit=9), host_state)


def made(host_state: HostState) -> list[dict[str, Any]]:
    """Create the scope; returns the notes about it, the last first."""
    notes: list[dict[str, Any]] = []
    scope.create(change(host_state, notes.append), step())
    Path(cgroups.TOP, PATH, "cgroup.procs").write_text("")  # they are killed by then
    return [note for note in reversed(notes) if note["undo"] == "scope"]


def test_undoing_stops_the_unit_and_may_be_repeated(fake: "FakeSystemd", host_state: HostState) -> None:
    notes = made(host_state)
    for note in notes * 2:
        scope.remove(change(host_state), note)

    assert fake.units == {}
    assert fake.members().count("StopUnit") == 1


def test_a_later_unit_of_the_name_is_not_stopped(fake: "FakeSystemd", host_state: HostState) -> None:
    """Its invocation is another one; and without a noted one (a killed creator) it is not ours if somebody is in it."""
    notes = made(host_state)
    Path(cgroups.TOP, PATH, "cgroup.procs").write_text("1\n")
    scope.remove(change(host_state), {**notes[0], "invocation": "99"})
    host_state.scope = {}
    scope.remove(change(host_state), notes[1])
    assert UNIT in fake.units

    Path(cgroups.TOP, PATH, "cgroup.procs").write_text("")
    scope.remove(change(host_state), notes[1])

    assert fake.units == {}


def test_a_unit_that_exists_is_refused_and_left(fake: "FakeSystemd", host_state: HostState) -> None:
    made(host_state)
    Path(cgroups.TOP, PATH, "cgroup.procs").write_text("1\n")
    other, notes = HostState("d", "d", "/", "/", "/"), []

    with pytest.raises(HostError, match=f"systemd has a unit {UNIT} already"):
        scope.create(change(other, notes.append), step())

    assert notes == []


def test_a_unit_that_came_at_this_moment_is_left(fake: "FakeSystemd", host_state: HostState) -> None:
    notes: list[dict[str, Any]] = []
    fake.refusal = (systemd.UNIT_EXISTS, "Unit runjail-c.scope was already loaded.")
    fake.units[UNIT] = {"ActiveState": "active"}

    with pytest.raises(HostError, match="was already loaded"):
        scope.create(change(host_state, notes.append), step())
    for note in reversed(notes):
        scope.remove(change(host_state), note)

    assert UNIT in fake.units


def test_without_systemd_the_error_says_so(
    host_state: HostState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """runc's words."""
    monkeypatch.setattr(systemd, "RUNNING", f"{tmp_path}/none")
    notes: list[dict[str, Any]] = []

    with pytest.raises(HostError, match="systemd not running on this host, cannot use systemd cgroups manager"):
        scope.create(change(host_state, notes.append), step())

    assert notes == []
