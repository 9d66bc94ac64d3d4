"""The quick checker and jsonschema give one verdict, and every fault is told in our own words."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings

from runjail.spec.schema import SCHEMA
from runjail.spec.validate import MOST, conforms, explain
from tests.support.spec.bad_configs import BAD, CONFIG
from tests.support.spec.documents import CONFIGS, JSON, mutated

MINIMAL = {"ociVersion": "1.0.0", "root": {"path": "rootfs"}}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_engines_conform(name: str) -> None:
    assert conforms(CONFIGS[name])
    assert explain(CONFIGS[name]) == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.os}: {bad.name}")
def test_one_verdict_on_bad_documents(bad: Any) -> None:
    pytest.importorskip("jsonschema")
    definition = {"config.json": "config", "process document": "process", "resources document": "resources"}[bad.kind]

    assert conforms(bad.document(), definition) == (explain(bad.document(), definition) == [])


@settings(max_examples=300)
@given(document=mutated())
def test_one_verdict_on_changed_documents(document: Any) -> None:
    """Both read one schema, so they must agree whatever stands in the document."""
    pytest.importorskip("jsonschema")
    for definition in ("config", "freebsd-config"):
        assert conforms(document, definition) == (explain(document, definition) == [])


@given(document=JSON)
def test_one_verdict_on_anything(document: Any) -> None:
    pytest.importorskip("jsonschema")
    for definition in SCHEMA["$defs"]:
        assert conforms(document, definition) == (explain(document, definition) == [])


def test_all_faults_are_found_and_sorted() -> None:
    """Sorted by path, list items by number: 10 comes after 9."""
    pytest.importorskip("jsonschema")
    document = {"root": {"readonly": 1}, "mounts": [{"destination": "/"}] * 9 + [{}, {"destination": 5}]}

    assert explain(document) == [
        "mounts[9].destination: is required",
        "mounts[10].destination: must be a string, not a number",
        "ociVersion: is required",
        "root.path: is required",
        "root.readonly: must be true or false, not a number",
    ]


def test_first_fault_is_found_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)

    assert explain(MINIMAL | {"process": {"cwd": "/", "args": [1, 2]}}) == [
        "process.args[0]: must be a string, not a number"
    ]
    assert explain(MINIMAL) == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.os}: {bad.name}")
def test_first_fault_is_one_of_all(bad: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonschema")
    definition = {"config.json": "config", "process document": "process", "resources document": "resources"}[bad.kind]
    every = explain(bad.document(), definition)
    monkeypatch.setitem(sys.modules, "jsonschema", None)

    assert set(explain(bad.document(), definition)) <= set(every)


def test_the_number_of_faults_is_bounded() -> None:
    """A hostile document could hold millions of them."""
    pytest.importorskip("jsonschema")

    assert len(explain(MINIMAL | {"mounts": [1] * 20_000})) == MOST


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "document: must be an object, not a list"),
        (None, "document: must be an object, not null"),
        ("{}", "document: must be an object, not a string"),
        (False, "document: must be an object, not false"),
    ],
)
def test_top_of_a_document(value: object, text: str) -> None:
    assert explain(value) == [text]


@pytest.mark.parametrize("uid", [3.0, 1e3, 0.5, float("inf"), True, "0", None])
def test_only_whole_numbers_are_integers(uid: object) -> None:
    """Go's decoder refuses 3.0 and 1e3 for an integer; true must never become uid 1."""
    assert not conforms({"args": ["sh"], "cwd": "/", "user": {"uid": uid}}, "process")


def test_linux_section_is_not_judged_on_freebsd() -> None:
    """podman and containerd send a whole Linux section to FreeBSD; only the limits in it mean something there."""
    strange = CONFIG | {"linux": {"namespaces": "none", "devices": 5, "resources": {"memory": {"limit": 5}}}}
    assert conforms(strange, "freebsd-config")
    assert not conforms(strange)
    assert not conforms(CONFIG | {"linux": {"resources": {"memory": 5}}}, "freebsd-config")


@pytest.mark.parametrize("section", ["windows", "solaris", "vm", "zos"])
def test_sections_of_strangers_are_not_judged(section: str) -> None:
    assert conforms(MINIMAL | {section: 5})


def test_good_documents_load_nothing_heavy() -> None:
    """A create must not pay for jsonschema, re or json."""
    program = (
        "import sys, posix\n"
        "from runjail.spec.document import read\n"
        "from runjail.spec.parse import parse\n"
        "parse(read(sys.argv[1]), 'freebsd'); parse(read(sys.argv[1]), 'linux')\n"
        "print(*({'re', 'json', 'enum', 'typing', 'dataclasses', 'jsonschema', 'socket'} & set(sys.modules)))"
    )
    path = __file__.rpartition("/")[0] + "/configs/podman-linux.json"
    top = __file__.rpartition("/tests/")[0]
    run = [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {top!r})\n{program}", path]

    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == ""
