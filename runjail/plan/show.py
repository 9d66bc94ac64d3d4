"""A Plan for people: on FreeBSD as a shell script around a jail.conf, on Linux as a list."""

from __future__ import annotations

from typing import Any

from runjail import steps
from runjail.plan.show_freebsd import write_script
from runjail.plan.show_linux import write_list
from runjail.record import to_data
from runjail.spec.model import Spec
from runjail.target import TARGETS


def as_text(plan: steps.Plan, spec: Spec) -> str:
    """Return the plan as text that ends in a newline; a FreeBSD plan is a valid sh(1) script."""
    if TARGETS[plan.os].jails:
        return write_script(plan, spec)
    return write_list(plan, spec)


def as_data(plan: steps.Plan, spec: Spec) -> dict[str, Any]:
    """Return the plan as JSON data: the steps in order, each with its kind, and what runs at the end."""
    listed = [{"step": type(step).__name__, "inside": step.inside} | _fields(step) for step in plan.steps]
    return {
        "os": plan.os,
        "name": plan.name,
        "source": plan.source,
        "root": plan.root,
        "steps": listed,
        "process": to_data(spec.process),
        "hooks": to_data(spec.hooks),
    }


def _fields(step: steps.Step) -> dict[str, Any]:
    fields = to_data(step)
    return fields if isinstance(fields, dict) else {}
