"""docs/spec-coverage.md accounts for every property that the schema knows, and for nothing else."""

import re
from pathlib import Path

import pytest

from runjail.spec.annotations import ADDRESSES, CHOICES, FILE_SYSTEMS, PARENT, PERMISSIONS
from runjail.spec.schema import HOOK_KINDS, SCHEMA
from tests.support.spec.every_property import properties

TOP = Path(__file__).resolve().parent.parent.parent
PAGE = (TOP / "docs" / "spec-coverage.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \| (\w+) \| (\w+) \| (.*)\|$", PAGE, re.MULTILINE)
STATUS = {field: {"freebsd": freebsd, "linux": linux} for field, freebsd, linux, _ in ROWS}


def test_every_property_is_accounted_for() -> None:
    assert set(properties(SCHEMA["$defs"]["config"])) == set(STATUS)
    assert len(ROWS) == len(STATUS)


def test_words_are_the_three() -> None:
    assert {word for status in STATUS.values() for word in status.values()} == {"applied", "refused", "warned"}


def test_nothing_of_the_freebsd_section_is_without_effect_on_freebsd() -> None:
    section = {field: status["freebsd"] for field, status in STATUS.items() if field.startswith("freebsd")}

    assert len(section) > 25
    assert set(section.values()) == {"applied"}


def test_all_hooks_are_there() -> None:
    assert {f"hooks.{kind}" for kind in HOOK_KINDS} <= set(STATUS)


@pytest.mark.parametrize("key", [PARENT, *CHOICES, *ADDRESSES])
def test_annotations_are_described(key: str) -> None:
    assert f"`{key}`" in PAGE


@pytest.mark.parametrize("name", sorted(PERMISSIONS | FILE_SYSTEMS))
def test_permissions_of_annotations_are_described(name: str) -> None:
    assert name in re.split(r"[\s,.]+", PAGE.rpartition("PARAMETER is")[2])


def test_named_modules_exist() -> None:
    named = set(re.findall(r"`([a-z]+(?:/[a-z_]+)?\.py)`", PAGE)) | {"spec/schema.py"}

    assert [name for name in sorted(named) if not (TOP / "runjail" / name).is_file()] == []
