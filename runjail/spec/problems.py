"""How a place in a document and a wrong value are put into words: one line, ASCII, of bounded length."""

from __future__ import annotations

from runjail.jsonio import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str | int, ...]

LONGEST = 80  # characters that a repeated value or key may take in a message

WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
}
KINDS = {dict: "object", list: "array", str: "string", int: "integer", bool: "boolean", float: "number"}


def json_path(path: Path) -> str:
    """Write a path as `mounts[2].destination` or `annotations["org.freebsd.parentJail"]`; the top is `document`."""
    words = ""
    for step in path:
        if isinstance(step, int):
            words += f"[{step}]"
        elif step.isascii() and step.isidentifier() and len(step) <= LONGEST:
            words += f".{step}" if words else step
        else:
            words += f"[{quote(step)}]"
    return words or "document"


def order(path: Path) -> list[tuple[bool, int, str]]:
    """Sort key of a path: by name, list items by number."""
    return [(False, step, "") if isinstance(step, int) else (True, 0, step) for step in path]


def quote(value: object) -> str:
    """Repeat a value from the document: as ASCII JSON, long strings cut, lists and objects by their kind."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return repr(value)  # infinity too, which JSON cannot write
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 128):
        return dumps(value)
    return "a number of that size" if isinstance(value, int) else WORDS[KINDS[type(value)]]


def _quoted(text: str) -> str:
    quoted = dumps(text)
    for length in (60, 30, 5):  # one character may take twelve when it is escaped
        if len(quoted) > LONGEST:
            quoted = dumps(text[:length] + "...")
    return quoted.replace("\x7f", "\\u007f")


def any_of(words: list[str] | tuple[str, ...]) -> str:
    """List choices: `"new" or "inherit"`."""
    quoted = [quote(word) for word in words]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def fault(keyword: str, schema: dict[str, Any], value: object) -> str:
    """Say what is wrong with a value that fails one keyword of its schema."""
    if keyword == "required":
        return "is required"
    if keyword == "type":
        return _wrong_type(schema["type"], value)
    if keyword == "enum":
        return f"must be {any_of(schema['enum'])}, not {quote(value)}"
    if keyword in ("minimum", "maximum"):
        return f"must be between {schema['minimum']} and {schema['maximum']}, not {quote(value)}"
    return "must not be empty"


def _wrong_type(wanted: str | list[str], value: object) -> str:
    kind = wanted if isinstance(wanted, str) else wanted[0]
    if isinstance(value, float) and kind == "integer":
        return f"must be a whole number without fraction or exponent, not {quote(value)}"
    named = "a number" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
    return f"must be {WORDS[kind]}, not {named or (quote(value) if not isinstance(value, str) else 'a string')}"
