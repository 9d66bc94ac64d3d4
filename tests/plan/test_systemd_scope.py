"""linux.cgroupsPath for `--systemd-cgroup`, and annotations with properties of the unit."""

from typing import Any

import pytest

from runjail.plan import variants
from runjail.plan.plan import make_plan
from runjail.plan.show import as_text
from runjail.plan.systemd_scope import plan_scope, slice_path
from runjail.spec.model import Resources
from runjail.spec.parse import parse
from runjail.steps import Scope

CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.0",
    "process": {"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "root": {"path": "rootfs"},
    "linux": {"cgroupsPath": "machine.slice:libpod:abc", "resources": {"pids": {"limit": 5}}},
}


def scope(text: str, id: str = "c", **annotations: str) -> tuple[Scope, list[str]]:
    problems: list[str] = []
    listed = tuple((f"org.systemd.property.{name}", value) for name, value in annotations.items())
    return plan_scope(text, id, Resources(), None, listed, problems), problems


@pytest.mark.parametrize(
    ("text", "unit", "slices", "path"),
    [
        ("machine.slice:libpod:abc", "libpod-abc.scope", "machine.slice", "machine.slice"),
        (":docker:1", "docker-1.scope", "", ""),
        ("-.slice:a:b", "a-b.scope", "-.slice", ""),
        ("a-b-c.slice:x:y", "x-y.scope", "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"),
        ("", "runjail-c.scope", "", ""),
    ],
)
def test_a_path_names_slice_and_unit(text: str, unit: str, slices: str, path: str) -> None:
    made, problems = scope(text)

    assert problems == []
    assert (made.unit, made.slice, made.path) == (unit, slices, path)


def test_an_id_is_escaped_as_systemd_escapes_names() -> None:
    """`+` is in ids, and in no unit's name."""
    assert scope("", "a+b")[0].unit == "runjail-a\\x2bb.scope"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/a/b", "with --systemd-cgroup its form is \"slice:prefix:name\", got '/a/b' instead"),
        ("a.slice:b", "its form is"),
        ("a:b:c:d", "its form is"),
        ("noslice:b:c", "invalid slice name: noslice"),
        (".slice:b:c", "invalid slice name: .slice"),
        ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
        ("-a.slice:b:c", "invalid slice name"),
        ("a/b.slice:b:c", "invalid slice name"),
        ("../b.slice:b:c", "invalid slice name"),
        ("a.slice:b:../../c", "is no name of a unit"),
        ("a.slice:b:c d", "is no name of a unit"),
        ("a.slice:b:" + "c" * 250, "is no name of a unit"),
        ("a.slice:b:c.slice", "is the name of a slice"),
    ],
)
def test_what_systemd_would_refuse_is_a_problem_with_its_place(text: str, problem: str) -> None:
    problems = scope(text)[1]

    assert len(problems) == 1
    assert problems[0].startswith("linux.cgroupsPath: ")
    assert problem in problems[0]


def test_the_root_slice_is_no_directory() -> None:
    assert slice_path("-.slice", []) == ""


def test_the_plan_has_a_scope_in_the_place_of_a_group() -> None:
    spec = parse(CONFIG, "linux")
    made = make_plan(spec, container_id="c", bundle="/b", state="/s", os="linux", systemd=True)

    first = made.steps[0]
    assert isinstance(first, Scope)
    assert (first.with_init, first.inside, first.resources.pids_limit) == (True, False, 5)
    assert "systemd scope libpod-abc.scope in machine.slice pids_limit=5" in as_text(made, spec)
    assert "systemd" not in as_text(make_plan(spec, container_id="c", bundle="/b", state="/s", os="linux"), spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("b", True)),
        ("'a b'", ("s", "a b")),
        ('"it\'s"', ("s", "it's")),
        ("'a\\'b\\n'", ("s", "a'b\n")),
        ("7", ("i", 7)),
        ("-7", ("i", -7)),
        ("0x10", ("i", 16)),
        ("1.5", ("d", 1.5)),
        ("uint64 18446744073709551615", ("t", 2**64 - 1)),
        ("byte 255", ("y", 255)),
        ("['a', 'b']", ("as", ("a", "b"))),
        ("[uint32 1,uint32 2]", ("au", (1, 2))),
    ],
)
def test_values_are_read_as_gvariant_text(text: str, expected: tuple[str, object]) -> None:
    assert variants.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "'a", "uint64 -1", "byte 256", "uint64", "[]", "['a', 1]", "['a'", "['a' 'b']", "1 2", "{'a': 1}"]
)
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        variants.parse(text)


def test_annotations_are_properties_of_the_unit() -> None:
    """Seconds are microseconds on the bus; a name that is no property's, and a value, are refused with their place."""
    made, problems = scope(
        "", TimeoutStopSec="uint64 3", CollectMode="'inactive'", MemorySec1="1", Ab="1", AfterSec="'x'"
    )

    assert made.properties == (("TimeoutStopUSec", "t", 3_000_000), ("CollectMode", "s", "inactive"))
    assert [problem.split(":")[0] for problem in problems] == [
        f'annotations["org.systemd.property.{name}"]' for name in ("MemorySec1", "Ab", "AfterSec")
    ]
