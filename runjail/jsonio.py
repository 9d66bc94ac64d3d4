"""JSON for the hot path.

`import json` brings re and enum along: 8 ms, more than a bare interpreter start. The C scanner and encoder behind
it need neither, so they are used directly where CPython has them; the results are json's own.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DEPTH = 200  # nesting a document may have; the C scanner recurses, and config.json needs about eight
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class _Context:
    """What the C scanner reads from a JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_int = int
    memo: "dict[str, str]" = {}

    @staticmethod
    def parse_float(text: str) -> float:
        value = float(text)
        if value - value != 0:  # 1e999 is infinite, which no JSON document could say again
            raise ValueError(f"number {text[:20]} is too large")
        return value

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def loads(text: "str | bytes") -> "Any":
    """Parse one JSON document.

    Raises ValueError with a short text for anything that is not one: bad syntax, bad UTF-8, NaN, too deep.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    try:
        from _json import make_scanner

        stripped = text.strip(" \t\n\r")
        value, end = make_scanner(_Context)(stripped, 0)  # type: ignore[arg-type]  # any object with these fields will do
        if end == len(stripped):
            return value
    except (ImportError, StopIteration, SystemError):  # the scanner can only word its errors once json is loaded
        pass
    import json

    return json.loads(text, parse_float=_Context.parse_float, parse_constant=_Context.parse_constant)


def _check_depth(text: str) -> None:
    """Refuse what nests too deep. Brackets in strings count too: only a document that fails so far is read exactly."""
    if _depth(text.encode("utf-8", "surrogatepass").translate(None, _NO_BRACKETS).decode()) <= MAX_DEPTH:
        return
    quoted, escaped, outside = False, False, []
    for character in text:
        if quoted:
            escaped, quoted = (character == "\\" and not escaped), (character != '"' or escaped)
        elif character == '"':
            quoted = True
        elif character in "[{]}":
            outside.append(character)
    if _depth("".join(outside)) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _depth(brackets: str) -> int:
    deepest = depth = 0
    for bracket in brackets:
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def dumps(value: object, indent: int | None = None, tight: bool = False) -> str:
    """Write one JSON document: ASCII only, keys in their order.

    `indent` is for people and costs an import; tight leaves the blanks out.
    """
    comma, colon = (",", ":") if tight else (", ", ": ")
    if indent is not None:
        import json

        return json.dumps(value, indent=indent)
    try:
        from _json import encode_basestring_ascii, make_encoder
    except ImportError:
        import json

        return json.dumps(value, separators=(comma, colon))
    encode = make_encoder({}, _refuse, encode_basestring_ascii, None, colon, comma, False, False, False)
    return "".join(encode(value, 0))
