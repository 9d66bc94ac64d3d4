"""Short ways to a Spec and its Plan."""

from typing import Any

import pytest

from runjail import steps
from runjail.errors import InvalidConfig
from runjail.plan.plan import make_plan
from runjail.spec.model import Device, FreeBSD, Jail, Mount, Root, Spec


def spec_of(*mounts: Mount, jail: Jail | None = None, devices: tuple[Device, ...] = (), **fields: Any) -> Spec:
    """Return a Spec with these mounts and this freebsd section."""
    return Spec("1.3.0", **{"root": Root("rootfs")} | fields, mounts=mounts, freebsd=FreeBSD(devices, jail or Jail()))


def plan_of(spec: Spec, os: str = "freebsd") -> steps.Plan:
    """Return the plan of container web in /b with its state in /s."""
    return make_plan(spec, container_id="web", bundle="/b", state="/s", os=os)


def mount_of(*options: str, type: str, source: str = "", destination: str = "/m", os: str = "freebsd") -> steps.Mount:
    """Return what one mount becomes."""
    plan = plan_of(spec_of(Mount(destination, type, source, options)), os)
    return next(step for step in plan.steps if isinstance(step, steps.Mount))


def params_of(spec: Spec) -> dict[str, str | None]:
    """Return the parameters of the jail."""
    plan = plan_of(spec)
    return dict(next(step for step in plan.steps if isinstance(step, steps.CreateJail)).params)


def problems_of(spec: Spec, os: str = "freebsd") -> tuple[str, ...]:
    """Return why there is no plan."""
    with pytest.raises(InvalidConfig) as caught:
        plan_of(spec, os)
    return caught.value.problems
