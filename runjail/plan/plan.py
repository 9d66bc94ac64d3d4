"""Contents of config.json in, a Plan out; new limits in, steps out. Pure: only arguments count.

A Spec is checked value by value when it is read (spec.parse). What is refused here is what the host could not do, or
could only do differently from what the document says.
"""

from __future__ import annotations

from runjail.errors import InvalidConfig
from runjail.plan.jail_name import jail_name
from runjail.plan.paths import absolute
from runjail.spec.model import Resources, Spec
from runjail.steps import Plan, Step
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def make_plan(spec: Spec, *, container_id: str, bundle: str, state: str, os: str, systemd: bool = False) -> Plan:
    """Return all that `create` has to do for this container on a host of kind `os` (a name of target.TARGETS).

    bundle, state: absolute paths of the bundle and of the container's state directory. systemd: whether a Linux
    container is to lie in a scope of systemd's.
    Raises InvalidConfig with every problem and its JSON path, UsageError when the id makes too long a jail name.
    """
    problems: list[str] = []
    source = absolute(spec.root.path, bundle)
    if TARGETS[os].jails:
        from runjail.plan import freebsd

        name = jail_name(container_id, spec.freebsd.jail.parent)
        root, steps = freebsd.plan_steps(spec, name, container_id, source, bundle, state, problems)
    else:
        from runjail.plan import linux

        name, root = jail_name(container_id), source
        steps = linux.plan_steps(spec, container_id, bundle, problems, systemd)
    if problems:
        raise InvalidConfig(problems)
    return Plan(os, name, source, root, steps)


def limit_steps(
    resources: Resources, *, os: str, name: str, container_id: str, cgroup: str = "", before: Sequence[str] = ()
) -> tuple[Step, ...]:
    """Return the steps that put `resources` into force in a container that exists, for `update`.

    name: the jail's full name. cgroup: path of the control group, "" for the usual one (Linux); with no path and no
    limit there is no step. before: rctl rules that the container has, with their amounts. Raises InvalidConfig.
    """
    if not TARGETS[os].jails:
        from runjail.plan import linux_cgroup

        return linux_cgroup.plan_limits(resources, cgroup, container_id)
    from runjail.plan import freebsd_rctl

    problems: list[str] = []
    made = freebsd_rctl.plan_limits(resources, (), name, problems)
    if problems:
        raise InvalidConfig(problems)
    return freebsd_rctl.replacing(made, before)


def check_allowed(spec: Spec, file: str, granted: Sequence[str]) -> None:
    """Refuse what annotations ask for beyond the specification and `[jail] allow` of the settings does not name.

    file: path of the settings, for the error. Raises InvalidConfig with every such annotation.
    """
    problems = [
        f'annotations["{key}"]: needs "{parameter}" in the list allow of [jail] in {file}'
        for key, parameter in spec.freebsd.jail.needs_grant
        if parameter not in granted
    ]
    if problems:
        raise InvalidConfig(problems)
