"""linux.cgroupsPath as systemd reads it: in which slice a scope lies, and its name.

The option `--systemd-cgroup` asks for it. The form is runc's, `slice:prefix:name` (its docs/systemd.md); without a path
the scope is `runjail-ID.scope`. Names are refused here that systemd would refuse later (systemd.unit(5),
unit_name_is_valid).
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import variants
from runjail.spec.model import Resources
from runjail.steps import DevicePolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FIELD = "linux.cgroupsPath"
ANNOTATION = "org.systemd.property."
SLICE = ".slice"
SYSTEM_SLICE, ROOT_SLICE = "system.slice", "-.slice"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALID = frozenset(f"{LETTERS}0123456789:-_.\\@")
MAX_UNIT = 255  # UNIT_NAME_MAX with its final zero


def plan_scope(
    text: str,
    container_id: str,
    resources: Resources,
    devices: DevicePolicy | None,
    annotations: Sequence[tuple[str, str]],
    problems: list[str],
) -> steps.Scope:
    """Return the step that registers a container's scope; what is wrong is added to problems with its JSON path.

    text: linux.cgroupsPath. Annotations `org.systemd.property.NAME` are further properties of the unit.
    """
    parent, prefix, name = ("", "runjail", _escaped(container_id))
    if text:
        parts = text.split(":")
        if len(parts) != 3:
            problems.append(f'{FIELD}: with --systemd-cgroup its form is "slice:prefix:name", got {text!r} instead')
            parts = ["", "", ""]
        parent, prefix, name = parts
    unit = f"{prefix}-{name}.scope"
    if name.endswith(SLICE):
        problems.append(f"{FIELD}: {name!r} is the name of a slice, and a container lies in a scope")
    elif not set(unit) <= VALID or len(unit) > MAX_UNIT:
        problems.append(f"{FIELD}: {unit!r} is no name of a unit: at most {MAX_UNIT} of letters, digits and :-_.\\@")
    return steps.Scope(
        unit,
        parent,
        slice_path(parent, problems) if parent else "",
        name or container_id,
        resources,
        devices,
        _properties(annotations, problems),
    )


def slice_path(name: str, problems: list[str]) -> str:
    """Return where a slice's group lies below its manager's: `a.slice/a-b.slice` of `a-b.slice`, "" of `-.slice`."""
    if name == ROOT_SLICE:
        return ""
    words = name.removesuffix(SLICE).split("-")
    if not name.endswith(SLICE) or "" in words or not set(name) <= VALID or len(name) > MAX_UNIT:
        problems.append(f"{FIELD}: invalid slice name: {name}")
        return ""
    return "/".join("-".join(words[: at + 1]) + SLICE for at in range(len(words)))


def _escaped(container_id: str) -> str:
    r"""Write what a unit's name cannot hold as systemd-escape(1) does: `a+b` is `a\x2bb`."""
    return "".join(letter if letter in VALID else f"\\x{ord(letter):02x}" for letter in container_id)


def _properties(annotations: Sequence[tuple[str, str]], problems: list[str]) -> tuple[steps.Property, ...]:
    found = []
    for key, text in annotations:
        if not key.startswith(ANNOTATION):
            continue
        name = key.removeprefix(ANNOTATION)
        try:
            if len(name) < 3 or not set(name) <= set(LETTERS):
                raise ValueError("no name of a property")
            found.append(_in_microseconds(name, *variants.parse(text)))
        except ValueError as error:
            problems.append(f'annotations["{key}"]: {error}')
    return tuple(found)


def _in_microseconds(name: str, signature: str, value: variants.Value) -> steps.Property:
    """`TimeoutStopSec` is `TimeoutStopUSec` on the bus, as runc and crun write it; other names stay."""
    if not name.endswith("Sec") or len(name) < 4 or not name[-4].islower():
        return (name, signature, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number of seconds")
    return (f"{name[:-3]}USec", "t", int(value * 1_000_000))
