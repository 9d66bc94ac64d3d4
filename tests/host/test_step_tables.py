"""Every step and every undo note of a host has its row, and every row its function."""

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runjail import steps
from runjail.errors import HostError
from runjail.host import base
from runjail.host.freebsd import host as freebsd
from runjail.host.linux import host as linux
from runjail.plan import show_freebsd

HOSTS = pytest.mark.parametrize("host", [freebsd, linux], ids=["freebsd", "linux"])
PLANNERS = {
    "freebsd": "freebsd*.py plan.py",
    "linux": "linux*.py plan.py systemd_scope.py variants.py",
}


def trees(directory: str, patterns: str) -> list[ast.Module]:
    """Return the parsed modules of a directory of the package."""
    top = Path(base.__file__).parent.parent / directory
    return [ast.parse(path.read_text()) for pattern in patterns.split() for path in sorted(top.glob(pattern))]


def planned(name: str) -> set[str]:
    """Return the steps that a system's planners make, by the names of their classes."""
    known = {name for name, value in vars(steps).items() if isinstance(value, type) and issubclass(value, steps.Step)}
    used = {
        node.attr
        for tree in trees("plan", PLANNERS[name])
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "steps"
    }
    return (used & known) - {"Step"}


def noted(name: str) -> set[str]:
    """Return the kinds of undo notes that a host writes."""
    return {
        value.value
        for tree in trees(f"host/{name}", "*.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "undo" and isinstance(value, ast.Constant)
    }


def system(host: ModuleType) -> str:
    return host.__name__.split(".")[-2]


@HOSTS
def test_whoever_plans_a_step_has_somebody_who_performs_it(host: ModuleType) -> None:
    assert planned(system(host)) == set(host.APPLY)


@HOSTS
def test_whatever_is_noted_can_be_taken_back(host: ModuleType) -> None:
    assert noted(system(host)) == set(host.UNDO)


@HOSTS
def test_every_row_is_a_function_of_a_change_and_a_step_or_note(host: ModuleType) -> None:
    if host is linux and sys.platform != "linux":
        pytest.skip("its modules need Linux's libc")
    for place in (host.APPLY | host.UNDO).values():
        module, _, name = place.partition(":")
        function = getattr(importlib.import_module(f"{host.__package__}.{module}"), name)
        assert function is base.function_of(str(host.__package__), place)
        first, second = inspect.signature(function).parameters.values()
        assert first.name.lstrip("_") == "change", place
        assert second.name.lstrip("_") == ("step" if place in host.APPLY.values() else "note"), place


def test_every_step_of_freebsd_is_shown() -> None:
    assert {step.__name__ for step in show_freebsd._RENDERERS} == set(freebsd.APPLY)


def test_taking_back_notes_nothing() -> None:
    with pytest.raises(HostError, match="taking back a change makes another one"):
        base.no_notes({"undo": "made"})


@HOSTS
def test_a_note_of_another_runjail_is_refused(host: ModuleType, tmp_path: Path) -> None:
    """Silence would let `delete` remove the notes of what stays."""
    state = base.HostState("c", "c", str(tmp_path), "", "")
    known = host.FreeBSDHost(libc=object()) if host is freebsd else host.LinuxHost()
    with pytest.raises(HostError, match="undoing 'future': written by another runjail; this one does not know how"):
        known.undo({"undo": "future"}, state)
