"""A container in a transient scope of systemd's: made when init is there, stopped at the end."""

from __future__ import annotations

import os
import time

from runjail import steps
from runjail.errors import HostError
from runjail.host.linux import cgroup_settings, cgroups, dbus, scope_limits, scope_properties, systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import HostState, Note
    from runjail.host.linux.change import Change

GONE_SECONDS = 2.0  # of waiting for systemd to notice that a scope has no process
PAUSE = 0.01


def create(change: Change, step: steps.Scope) -> None:
    """Let systemd make the scope around init (host_state.pid) with its limits; then see to what it does not know.

    Raises HostError: no systemd, no jeepney, no bus, a scope of this name, or a property that it refuses.
    """
    host_state, note = change.host_state, change.note
    if not os.path.isdir(systemd.RUNNING):
        raise HostError(
            "systemd not running on this host, cannot use systemd cgroups manager", "leave out --systemd-cgroup"
        )
    with systemd.Manager(systemd.rootless()) as manager:
        slices = step.slice or ("user.slice" if manager.user else "system.slice")
        place = step.path if step.slice else slices
        path = "/".join(filter(None, (manager.control_group(), place, step.unit)))
        if manager.invocation(step.unit) and _has_processes(path):
            raise HostError(f"systemd has a unit {step.unit} already", f"systemctl status {step.unit}")
        known = {"undo": "scope", "unit": step.unit, "user": manager.user, "path": path}
        note(known)
        _start(manager, step, slices, host_state)
        host_state.scope = {"unit": step.unit, "user": manager.user, "invocation": manager.invocation(step.unit)}
        note({**known, "invocation": host_state.scope["invocation"]})
    group = steps.Cgroup(path, scope_properties.rounded(step.resources), step.devices)
    cgroup_settings.create(group, host_state, note)
    if host_state.cgroup:
        cgroups.join(path, host_state.pid)  # hierarchies of v1 that systemd leaves alone


def _start(manager: systemd.Manager, step: steps.Scope, slices: str, host_state: HostState) -> None:
    unified = cgroups.unified()
    properties: list[steps.Property] = [
        ("Description", "s", f"libcontainer container {step.name}"),
        ("Slice", "s", slices),
        ("Delegate", "b", True),
        ("PIDs", "au", (host_state.pid,)),
        *scope_properties.accounting(unified),
        ("DefaultDependencies", "b", False),
        ("CollectMode", "s", "inactive-or-failed"),  # nobody may be there to say ResetFailedUnit
        *scope_limits.limits(step.resources, manager),
    ]
    if step.devices:
        properties += scope_properties.devices(step.devices.allow, step.devices.rules)
    try:
        manager.start(step.unit, [*properties, *step.properties])
    except dbus.CallError as error:
        if error.name == systemd.UNIT_EXISTS:
            host_state.scope = {"unit": "", "user": manager.user, "invocation": ""}  # another's: not ours to stop
        raise HostError(f"systemd: starting {step.unit}: {scope_limits.lowered(error)}") from error


def remove(change: Change, note: Note) -> None:
    """Stop the scope, unless it is another's of this name by now, or gone: systemd ends one that has no process left.

    Raises HostError when it stays.
    """
    host_state = change.host_state
    unit, path = note["unit"], note["path"]
    foreign = host_state.scope.get("unit") == ""
    if foreign or _vanishes(path):
        return
    with systemd.Manager(note["user"]) as manager:
        found = manager.invocation(unit)
        invocation = note.get("invocation") or host_state.scope.get("invocation", "")
        if found == invocation if invocation else not _has_processes(path):
            manager.stop(unit)
            manager.reset(unit)


def _vanishes(path: str) -> bool:
    """Wait a moment for a group without processes to go."""
    end = time.monotonic() + GONE_SECONDS
    while any(map(os.path.isdir, cgroups.directories(path))):
        if _has_processes(path) or time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True


def _has_processes(path: str) -> bool:
    """Whether somebody is in a group or below it."""
    tops = cgroups.directories(path)
    return any(cgroups.content(f"{place}/cgroup.procs").strip() for top in tops for place, _, _ in os.walk(top))
