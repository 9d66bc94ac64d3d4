"""linux.cgroupsPath and linux.resources as one control group."""

from __future__ import annotations

from runjail import steps
from runjail.spec.model import Resources


def plan_limits(
    resources: Resources, path: str, container_id: str, devices: steps.DevicePolicy | None = None
) -> tuple[steps.Step, ...]:
    """Return the step that makes the control group and sets its limits, none where nothing asks for one.

    path: of the control group, "" for the usual one.
    """
    if not (path or devices or resources != Resources()):
        return ()
    return (steps.Cgroup(path or f"runjail/{container_id}", resources, devices, own=not path),)


def cgroup_path(text: str, problems: list[str]) -> str:
    """Return linux.cgroupsPath as a path below every hierarchy; systemd's `slice:prefix:name` is spelled out."""
    if text.count(":") == 2 and "/" not in text:
        parent, prefix, unit = text.split(":")
        text = f"{parent or 'system.slice'}/{prefix}-{unit}.scope"
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names or "\0" in text:
        problems.append(f"linux.cgroupsPath: {text!r} leads out of the control groups")
    return "/".join(names)
