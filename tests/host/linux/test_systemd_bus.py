"""systemd's manager over D-Bus: a fake one on a socket of ours, so that these run on every machine."""

import builtins
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runjail.errors import HostError
from runjail.host.linux import dbus, systemd
from tests.support.leaks import Held

if TYPE_CHECKING:
    from tests.support.host.fake_bus import FakeSystemd

pytestmark = pytest.mark.needs("module jeepney")


UNIT = "runjail-c.scope"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[FakeSystemd]":
    """A systemd, and we are led to it."""
    from tests.support.host.fake_bus import FakeSystemd

    made = FakeSystemd(tmp_path / "bus")
    monkeypatch.setattr(dbus, "SYSTEM", f"unix:path={made.path}")
    monkeypatch.setattr(dbus, "PRIVATE", str(tmp_path / "private"))
    yield made
    made.close()


def start(manager: systemd.Manager, **properties: Any) -> None:
    """Start our unit with properties of which only the names matter."""
    manager.start(UNIT, [(name, "s", value) for name, value in properties.items()])


def test_the_end_of_the_introduction_is_read_alone(fake: "FakeSystemd") -> None:
    """At its own socket systemd overlooks a message that comes with it: `create` failed, after 30 seconds."""
    fake.pause = 0.2
    with systemd.Manager(user=False) as manager:
        assert manager.version() == 252

    assert fake.read == [b"BEGIN\r\n"]


def test_a_unit_is_started_changed_and_stopped(fake: "FakeSystemd") -> None:
    """The end of our own job is waited for, whatever other jobs end meanwhile."""
    with systemd.Manager(user=False) as manager:
        manager.start(UNIT, [("PIDs", "au", (1, 2)), ("Delegate", "b", True), ("DeviceAllow", "a(ss)", (("/x", "r"),))])
        assert fake.units[UNIT] == {
            "PIDs": [1, 2],
            "Delegate": True,
            "DeviceAllow": [("/x", "r")],
            "ActiveState": "active",
        }
        manager.set(UNIT, [("MemoryMax", "t", 2**64 - 1)])
        assert fake.units[UNIT]["MemoryMax"] == 2**64 - 1
        assert manager.invocation(UNIT) == "1234"
        manager.stop(UNIT)

    assert fake.units == {}
    start_call = next(body for member, body in fake.calls if member == "StartTransientUnit")
    assert (start_call[0], start_call[1], start_call[3]) == (UNIT, "replace", [])
    assert [body[:2] for member, body in fake.calls if member == "SetUnitProperties"] == [(UNIT, True)]


@pytest.mark.parametrize("challenge", [True, False])
def test_who_we_are_is_said_as_each_bus_wants_it(fake: "FakeSystemd", challenge: bool) -> None:
    """dbus-daemon asks again, systemd's own socket may not; we claim no number, the kernel tells it."""
    fake.challenge = challenge

    with systemd.Manager(user=False) as manager:
        assert manager.version() == 252


@pytest.mark.parametrize(("text", "number"), [("v245.4-1.fc32", 245), ("252", 252), ("", 0)])
def test_versions_are_read_as_runc_reads_them(fake: "FakeSystemd", text: str, number: int) -> None:
    fake.version = text

    with systemd.Manager(user=False) as manager:
        assert manager.version() == number


def test_stopping_what_is_not_there_is_a_success(fake: "FakeSystemd") -> None:
    with systemd.Manager(user=False) as manager:
        manager.stop(UNIT)
        assert manager.invocation(UNIT) == ""


def test_a_unit_that_failed_before_makes_way(fake: "FakeSystemd") -> None:
    fake.units[UNIT] = {"ActiveState": "failed"}

    with systemd.Manager(user=False) as manager:
        start(manager, Slice="a.slice")

    assert fake.units[UNIT]["Slice"] == "a.slice"


def test_a_unit_that_is_active_stays(fake: "FakeSystemd") -> None:
    fake.units[UNIT] = {"ActiveState": "active"}

    with systemd.Manager(user=False) as manager, pytest.raises(dbus.CallError, match=r"already loaded") as raised:
        start(manager)

    assert raised.value.name == systemd.UNIT_EXISTS
    assert fake.units == {UNIT: {"ActiveState": "active"}}


def test_a_start_that_fails_is_an_error_and_is_forgotten(fake: "FakeSystemd") -> None:
    fake.ended = "failed"

    with systemd.Manager(user=False) as manager, pytest.raises(HostError, match=f"{UNIT}, which ended as 'failed'"):
        start(manager)

    assert fake.members()[-1] == "ResetFailedUnit"


def test_a_refusal_carries_systemds_words(fake: "FakeSystemd") -> None:
    with systemd.Manager(user=False) as manager:
        fake.refusal = ("org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set property X, or unknown property.")
        with pytest.raises(dbus.CallError, match="Cannot set property X"):
            start(manager, X="1")


def test_an_answer_that_does_not_come_is_an_error(fake: "FakeSystemd", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "CALL_SECONDS", 0.2)
    fake.deaf = True
    began = time.monotonic()

    with pytest.raises(HostError, match=r"no answer after 0.2 s") as raised:
        systemd.Manager(user=False)

    assert time.monotonic() - began < 200
    assert "systemctl" in (raised.value.hint or "")


def test_a_user_has_a_bus_and_a_group_of_its_own(fake: "FakeSystemd", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"tcp:host=x;unix:path={fake.path},guid=5")

    with systemd.Manager(user=True) as manager:
        assert manager.control_group() == "user.slice/user-1000.slice/user@1000.service"
    with systemd.Manager(user=False) as manager:
        assert manager.control_group() == ""


def test_without_an_address_the_users_bus_lies_in_its_runtime_directory(tmp_path: Path) -> None:
    (tmp_path / "bus").touch()

    assert dbus.user_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path}/bus"
    with pytest.raises(HostError, match="XDG_RUNTIME_DIR") as raised:
        dbus.user_address({"XDG_RUNTIME_DIR": f"{tmp_path}/none"})
    assert "dbus-user-session" in (raised.value.hint or "")


def test_without_a_bus_systemds_own_socket_is_asked(
    fake: "FakeSystemd", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no bus then to say hello to."""
    monkeypatch.setattr(dbus, "PRIVATE", fake.path)
    monkeypatch.setattr(dbus, "SYSTEM", f"unix:path={tmp_path}/none")

    with systemd.Manager(user=False) as manager:
        start(manager)

    assert UNIT in fake.units
    assert "Hello" not in [member for member, _ in fake.calls]


def test_no_way_to_systemd_is_one_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus, "SYSTEM", f"unix:path={tmp_path}/none")
    monkeypatch.setattr(dbus, "PRIVATE", f"{tmp_path}/private")

    with pytest.raises(HostError, match=r"connecting to the system bus \(unix:path=.*none\): does not exist") as raised:
        systemd.Manager(user=False)

    assert "apt install dbus" in (raised.value.hint or "")


def test_without_jeepney_the_error_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("jeepney"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(HostError, match="the Python module jeepney is not installed") as raised:
        dbus.connect(False)

    assert "python3-jeepney" in (raised.value.hint or "")


def test_descriptors_are_closed(fake: "FakeSystemd") -> None:
    before = Held()
    for _ in range(3):
        with systemd.Manager(user=False) as manager:
            manager.version()

    for thread in fake._threads[1:]:
        thread.join(300)
    assert before.more() == []


def test_check_says_how_containers_can_be_scopes(
    fake: "FakeSystemd", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For information only: without a remedy no row makes `runjail check` fail."""
    monkeypatch.setattr(systemd, "rootless", lambda: False)
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path))
    assert systemd.check() == ("systemd", True, "252: containers can be scopes of the system's manager", "")

    monkeypatch.setattr(dbus, "SYSTEM", "unix:path=/none")
    works, found, remedy = systemd.check()[1:]
    assert (works, remedy) == (False, "")
    assert "connecting to the system bus (unix:path=/none): does not exist (apt install dbus" in found

    monkeypatch.setattr(systemd, "RUNNING", f"{tmp_path}/none")
    assert systemd.check() == ("systemd", False, "not running: --systemd-cgroup is refused", "")
