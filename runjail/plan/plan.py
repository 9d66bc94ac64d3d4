"""config.json's contents in, a Plan out. Pure: looks at nothing but its arguments.

A Spec is checked value by value when it is read (spec.parse). What is refused here is what the host could not do, or
could only do differently from what the document says.
"""

from __future__ import annotations

from runjail.errors import InvalidConfig
from runjail.plan.jail_name import jail_name
from runjail.plan.paths import absolute
from runjail.spec.model import Spec
from runjail.steps import Plan
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
        steps = linux.plan_steps(spec, name, container_id, bundle, problems, systemd)
    if problems:
        raise InvalidConfig(problems)
    return Plan(os, name, source, root, steps)


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
