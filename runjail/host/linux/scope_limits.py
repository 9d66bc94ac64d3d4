"""The limits of a scope of systemd's, told to systemd as properties when it is made and by `update`."""

from __future__ import annotations

from runjail.errors import HostError
from runjail.host.linux import cgroups, dbus, scope_properties, systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail import steps
    from runjail.host.base import HostState
    from runjail.spec.model import Resources


def limits(resources: Resources, manager: systemd.Manager) -> list[steps.Property]:
    """Return the properties of what `resources` names. Raises HostError for what cannot be one."""
    try:
        return scope_properties.limits(resources, cgroups.unified(), manager.version())
    except ValueError as error:
        raise HostError(f"linux.resources.cpu: {error}") from error


def lowered(error: HostError) -> str:
    """Return what systemd said as the end of a sentence of ours."""
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]


def update(resources: Resources, host_state: HostState) -> Resources:
    """Change the unit's limits. Returns what is left to write to the control group: the same, as systemd holds it."""
    unit = host_state.scope["unit"]
    with systemd.Manager(host_state.scope["user"]) as manager:
        properties = limits(resources, manager)
        try:
            if properties:
                manager.set(unit, properties)
        except dbus.CallError as error:
            raise HostError(f"systemd: changing {unit}: {lowered(error)}") from error
    return scope_properties.rounded(resources)
