"""A Linux plan as a list: there is no one tool that a reader would type it into."""

from __future__ import annotations

from collections.abc import Callable

from runjail import steps
from runjail.plan.device_rules import words
from runjail.plan.quoting import shell_line
from runjail.plan.show_process import scheduling
from runjail.spec.model import IdMappings, Spec


def write_list(plan: steps.Plan, spec: Spec) -> str:
    """Return one line for each step."""
    lines = [f"container {plan.name}: {plan.source} in Linux namespaces"]
    for number, step in enumerate(plan.steps, 1):
        where = "inside " if step.inside else "outside"
        lines.append(f"{number:3} {where} {_RENDERERS[type(step)](step)}")
    if spec.process:
        lines += [f"    with    {words}" for words in scheduling(spec.process)]
        lines.append(f"    then    {shell_line(*spec.process.args)}")
    return "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines) + "\n"


def _cgroup(step: steps.Cgroup) -> str:
    return " ".join(["control group", step.path, *_limits(step)])


def _scope(step: steps.Scope) -> str:
    slices = [f"in {step.slice}"] * bool(step.slice)
    more = [f"{name}={value}" for name, _, value in step.properties]
    return " ".join(["systemd scope", step.unit, *slices, *_limits(step), *more])


def _limits(step: steps.Cgroup | steps.Scope) -> list[str]:
    limits = ((name, getattr(step.resources, name)) for name in step.resources._fields)
    parts = [f"{name}={value}" for name, value in limits if value not in ((), None) and value is not False]
    if step.devices:
        rules = ", ".join(words(*rule) for rule in step.devices.rules)
        parts += ["every device" if step.devices.allow else "no device"] + [f"but {rules}"] * bool(rules)
    return parts


def _namespaces(step: steps.CreateNamespaces) -> str:
    parts = [f"new namespaces {' '.join(step.new)}", *(f"{kind} of {path}" for kind, path in step.join)]
    parts += [f"hostname {step.hostname}"] * bool(step.hostname) + [f"domainname {step.domainname}"] * bool(
        step.domainname
    )
    parts += [f"{clock} {seconds} s {nanos} ns ahead" for clock, seconds, nanos in step.time_offsets]
    return ", ".join(parts + ["root read-only"] * step.readonly + _mappings(step.mappings))


def _mappings(mappings: IdMappings | None) -> list[str]:
    """Return one text each for users and groups: `users 0-65535 are 100000-165535`."""
    kinds = (("users", mappings.uids), ("groups", mappings.gids)) if mappings else ()
    return [f"{kind} {' '.join(_range(*one) for one in ranges)}" for kind, ranges in kinds]


def _range(container: int, host: int, size: int) -> str:
    return f"{container}-{container + size - 1} are {host}-{host + size - 1}"


def _mount(step: steps.Mount) -> str:
    words = [*step.flags, *(f"{key}={value}" if value else key for key, value in step.data), *step.propagation]
    words += step.recursive_flags
    words += ["recursive"] * step.recursive + ["copy up"] * step.copy_up
    words += ["idmapped"] * bool(step.mappings)
    parts = ",".join(word for word in words if word)
    return f"mount {step.fstype} {step.source} on {step.destination}" + (f" ({parts})" if parts else "")


def _nodes(step: steps.DeviceNodes) -> str:
    return "devices " + " ".join(
        [node[0] for node in step.nodes] + [f"{path}->{target}" for path, target in step.links]
    )


def _conceal(step: steps.MaskPaths) -> str:
    parts = [("hide", step.masked), ("read-only", step.readonly)]
    return "; ".join(" ".join((word, *paths)) for word, paths in parts if paths)


def _labels(step: steps.SecurityLabels) -> str:
    named = (("AppArmor", step.apparmor), ("SELinux", step.selinux), ("SELinux for mounts", step.mounts))
    return "security labels: " + ", ".join(f"{name} {label}" for name, label in named if label)


def _seccomp(step: steps.SeccompFilter) -> str:
    calls = sum(len(rule.names) for rule in step.profile.rules)
    return f"seccomp filter: {step.profile.default} but for {calls} system calls"


def _net_devices(step: steps.NetDevices) -> str:
    return "interfaces " + " ".join(name if name == inside else f"{name} as {inside}" for name, inside in step.devices)


def _sysctls(step: steps.Sysctls) -> str:
    return "sysctl " + " ".join(f"{key}={value}" for key, value in step.values)


_RENDERERS: dict[type[steps.Step], Callable[..., str]] = {
    steps.Cgroup: _cgroup,
    steps.Scope: _scope,
    steps.CreateNamespaces: _namespaces,
    steps.Mount: _mount,
    steps.DeviceNodes: _nodes,
    steps.MaskPaths: _conceal,
    steps.NetDevices: _net_devices,
    steps.SeccompFilter: _seccomp,
    steps.SecurityLabels: _labels,
    steps.Sysctls: _sysctls,
}
