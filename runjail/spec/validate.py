"""Whether a document has the shape that the schema asks for, and if not, why.

Good documents are judged by a short walk over the schema (0.15 ms for the 10 KiB that podman writes), because
importing jsonschema takes far longer than the rest of `create`. Only a document that is turned down is worth that
import: jsonschema then finds every fault. Both read the same schema; a property test holds them to one verdict.
"""

from __future__ import annotations

from runjail.spec.problems import KINDS, fault, json_path, order
from runjail.spec.schema import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.spec.problems import Path
    from runjail.spec.schema import Schema

    Problem = tuple[Path, str]

TEXT = {"type": "string"}
MOST = 1000  # faults looked for: a hostile document could hold millions


def conforms(document: object, definition: str = "config") -> bool:
    """Tell whether a parsed JSON document has the shape `$defs/<definition>` of the schema."""
    return _first_fault(document, SCHEMA["$defs"][definition]) is None


def explain(document: object, definition: str = "config") -> list[str]:
    """Return every fault as `json.path: what is wrong`, sorted by path; empty when the document conforms.

    Without jsonschema only the first fault is found; nobody lists more than a thousand.
    """
    return [f"{json_path(path)}: {text}" for path, text in faults(document, definition)[0]]


def faults(document: object, definition: str) -> tuple[list[Problem], bool]:
    """Return what explain words, as (path, text), and whether that is all there is."""
    schema = SCHEMA["$defs"][definition]
    try:
        return _all_faults(document, schema)
    except ImportError:
        first = _first_fault(document, schema)
        return ([] if first is None else [first]), first is None


def _first_fault(value: object, schema: Schema) -> Problem | None:
    allowed = schema.get("type")
    kind = KINDS.get(type(value), "null")
    if allowed is not None and kind != allowed and (isinstance(allowed, str) or kind not in allowed):
        return (), fault("type", schema, value)
    if "enum" in schema and value not in schema["enum"]:
        return (), fault("enum", schema, value)
    if isinstance(value, dict):
        return _fault_in_object(value, schema)
    if isinstance(value, list):
        return _fault_in_list(value, schema)
    if "minimum" in schema and kind == "integer" and not schema["minimum"] <= value <= schema["maximum"]:
        return (), fault("minimum", schema, value)
    return None


def _fault_in_object(value: dict[str, Any], schema: Schema) -> Problem | None:
    for name in schema.get("required", ()):
        if name not in value:
            return (name,), fault("required", schema, value)
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, item in value.items():
        inner = known.get(name, others)
        if inner is not None and (found := _first_fault(item, inner)):
            return (name, *found[0]), found[1]
    return None


def _fault_in_list(value: list[Any], schema: Schema) -> Problem | None:
    if len(value) < schema.get("minItems", 0):
        return (), fault("minItems", schema, value)
    inner = schema.get("items")
    if inner is not None and not (inner == TEXT and set(map(type, value)) == {str}):  # seccomp profiles name 400 calls
        for index, item in enumerate(value):
            if found := _first_fault(item, inner):
                return (index, *found[0]), found[1]
    return None


def _all_faults(document: object, schema: Schema) -> tuple[list[Problem], bool]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON Schema takes 3.0 for an integer; Go's decoder, which every other runtime uses, does not
    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    found: dict[Path, str] = {}
    for error in extend(Draft202012Validator, type_checker=checker)(schema).iter_errors(document):
        if len(found) >= MOST:
            break
        path = tuple(error.absolute_path)
        text = fault(error.validator, error.schema, error.instance)
        if error.validator == "required":  # one error each, which does not say for which name
            found.update(((*path, name), text) for name in error.validator_value if name not in error.instance)
        else:
            found.setdefault(path, text)
    return sorted(found.items(), key=lambda problem: order(problem[0])), len(found) < MOST
