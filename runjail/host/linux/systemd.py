"""systemd's manager: start, change and stop one scope, and know it again."""

from __future__ import annotations

import os

from runjail import log
from runjail.errors import HostError
from runjail.host.base import in_user_namespace
from runjail.host.linux import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.steps import Property

RUNNING = "/run/systemd/system"  # sd_booted(3)
UNIT = f"{dbus.SYSTEMD}.Unit"
SCOPE = f"{dbus.SYSTEMD}.Scope"
UNIT_EXISTS = f"{dbus.SYSTEMD}.UnitExists"
NO_SUCH_UNIT = f"{dbus.SYSTEMD}.NoSuchUnit"
PROPERTY_SIGNATURE = "a(sv)"


def rootless() -> bool:
    """Say whether it is our user's manager that we have to ask: we are not root, or only of a user namespace."""
    return os.geteuid() != 0 or in_user_namespace()


class Manager:
    """systemd, or a user's systemd. Use it in a `with`."""

    def __init__(self, user: bool) -> None:
        self.user = user
        self._connection = dbus.connect(user)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *raised: object) -> None:
        self._connection.__exit__(*raised)

    def version(self) -> int:
        """Return its version: 252 of `252.39-1~deb12u1` or `v252`."""
        text = str(self._connection.property(dbus.MANAGER, "Version")).lstrip("v")
        digits = text[: next((at for at, letter in enumerate(text) if not letter.isdigit()), len(text))]
        return int(digits or 0)

    def control_group(self) -> str:
        """Return the path of its own control group, without slashes at its ends; "" of the system's manager."""
        return str(self._connection.property(dbus.MANAGER, "ControlGroup")).strip("/") if self.user else ""

    def start(self, unit: str, properties: Sequence[Property]) -> None:
        """Start a transient unit and wait until it is there; one that failed before makes way.

        Raises CallError (UNIT_EXISTS among them) and HostError.
        """
        body: dbus.Body = (unit, "replace", _typed(properties), [])
        try:
            ended = self._connection.run_job("StartTransientUnit", f"ss{PROPERTY_SIGNATURE}a(sa(sv))", body)
        except dbus.CallError as error:
            if error.name != UNIT_EXISTS or not self._is_failed(unit):
                raise
            self.reset(unit)
            ended = self._connection.run_job("StartTransientUnit", f"ss{PROPERTY_SIGNATURE}a(sa(sv))", body)
        if ended != "done":
            self.reset(unit)
            raise HostError(f"systemd started {unit}, which ended as {ended!r}", f"journalctl -u {unit}")

    def set(self, unit: str, properties: Sequence[Property]) -> None:
        """Change properties of a unit until it ends."""
        self._connection.call("SetUnitProperties", f"sb{PROPERTY_SIGNATURE}", (unit, True, _typed(properties)))

    def stop(self, unit: str) -> None:
        """Stop a unit, whose processes are killed with it. One that is not there is a success."""
        try:
            ended = self._connection.run_job("StopUnit", "ss", (unit, "replace"))
        except dbus.CallError as error:
            if error.name != NO_SUCH_UNIT:
                raise
            return
        if ended != "done":
            log.debug(f"systemd: stopping {unit} ended as {ended!r}")

    def reset(self, unit: str) -> None:
        """Let systemd forget that a unit failed."""
        try:
            self._connection.call("ResetFailedUnit", "s", (unit,))
        except dbus.CallError as error:  # it did not fail
            log.debug(f"systemd: {error}")

    def invocation(self, unit: str) -> str:
        """Return the number, in hexadecimal, of this start of a unit; "" when there is no such unit."""
        try:
            path = str(self._connection.call("GetUnit", "s", (unit,))[0])
            return bytes(self._connection.property(UNIT, "InvocationID", path)).hex()
        except dbus.CallError as error:
            if error.name in (NO_SUCH_UNIT, "org.freedesktop.DBus.Error.UnknownObject"):
                return ""
            raise

    def _is_failed(self, unit: str) -> bool:
        path = str(self._connection.call("GetUnit", "s", (unit,))[0])
        return bool(self._connection.property(UNIT, "ActiveState", path) == "failed")


def check() -> tuple[str, bool, str, str]:
    """Return the row of `runjail check`; only for information, since nothing but --systemd-cgroup takes systemd."""
    if not os.path.isdir(RUNNING):
        return ("systemd", False, "not running: --systemd-cgroup is refused", "")
    user = rootless()
    try:
        with Manager(user) as manager:
            whose = "this user's" if user else "the system's"
            return ("systemd", True, f"{manager.version()}: containers can be scopes of {whose} manager", "")
    except HostError as error:
        return ("systemd", False, f"--systemd-cgroup is refused: {error} ({error.hint})", "")


def _typed(properties: Sequence[Property]) -> list[tuple[str, tuple[str, object]]]:
    return [(name, (signature, _plain(value))) for name, signature, value in properties]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
