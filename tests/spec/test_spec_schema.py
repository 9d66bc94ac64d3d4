"""The schema itself: a JSON Schema that other tools can read, of which our own checker knows every keyword."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runjail.spec.schema import SCHEMA

KEYWORDS = {"type", "properties", "required", "items", "additionalProperties", "enum", "minimum", "maximum", "minItems"}


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and all inside it."""
    yield schema
    for inner in [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]:
        if isinstance(inner, dict):
            yield from subschemas(inner)


def test_schema_is_json() -> None:
    """It can be dumped for editors and other tools, and nothing is lost."""
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_schema_is_a_json_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    good = {"ociVersion": "1.0.0", "root": {"path": "rootfs"}}

    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(good)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid({"ociVersion": "1.0.0"})


def test_definitions_are_there() -> None:
    assert set(SCHEMA["$defs"]) == {
        *("config", "freebsd-config", "process", "hook", "mount", "freebsd", "linux", "resources")
    }


@pytest.mark.parametrize("name", SCHEMA["$defs"])
def test_our_checker_knows_every_keyword(name: str) -> None:
    """A keyword that only jsonschema knows would split the two verdicts; bounds come in pairs because the text does."""
    for schema in subschemas(SCHEMA["$defs"][name]):
        assert set(schema) <= KEYWORDS
        assert ("minimum" in schema) == ("maximum" in schema)
        assert not ("enum" in schema and "type" in schema)


@pytest.mark.parametrize("name", SCHEMA["$defs"])
def test_every_object_is_open(name: str) -> None:
    """Unknown properties are never an error (runtime-spec, Extensibility)."""
    assert all(schema.get("additionalProperties") is not False for schema in subschemas(SCHEMA["$defs"][name]))
