"""JSON without `import json`, which costs more than the start of a bare interpreter.

It brings re and enum along. The documents here are small, and reading one costs less than that import. What is read and
written is what json reads and writes, with the strictness of RFC 8259: no NaN, no infinity, and names are strings.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    Take = Callable[[], Any]

MAX_DEPTH = 200  # nesting a document may have: reading recurses, and config.json needs about eight


class _Mark:
    """One of the six characters that give a document its structure, or its end. No value is one."""

    __slots__ = ()


_OBJECT, _END_OBJECT, _ARRAY, _END_ARRAY, _COLON, _COMMA, _END = (_Mark() for _ in range(7))
_MARKS = {"{": _OBJECT, "}": _END_OBJECT, "[": _ARRAY, "]": _END_ARRAY, ":": _COLON, ",": _COMMA}
_BLANKS = " \t\n\r"
_WORDS: dict[str, Any] = {**_MARKS, "true": True, "false": False, "null": None}
_ESCAPES = {'"': '"', "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Malformed(ValueError):
    """No JSON; json says where and why."""


def loads(text: str | bytes) -> Any:
    """Parse one JSON document.

    Raises ValueError with a short text for anything that is not one: bad syntax, bad UTF-8, NaN, too deep.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if _Quick.scan and text.count("{") + text.count("[") <= MAX_DEPTH:
        inner = text.strip(_BLANKS)
        try:
            value, end = _Quick.scan(inner, 0)
            if end == len(inner):
                return value
        except (StopIteration, ValueError, SystemError):  # what follows says why; SystemError: see hasten
            pass
    tokens = _tokens(text)
    try:
        value = _value(next(tokens), tokens.__next__, 0)
        if next(tokens, _END) is _END:
            return value
    except (_Malformed, StopIteration):
        pass
    raise _explained(text)


class _Quick:
    """Reading by the C half of json, which takes a ninth of the time; `scan` is None as long as it is not loaded."""

    scan: Callable[[str, int], tuple[Any, int]] | None = None
    strict, object_hook, object_pairs_hook, array_hook, parse_int = True, None, None, None, int


def hasten() -> None:
    """Read by the C half of json from now on: for who reads many documents, since loading it takes as long as four.

    What is no JSON, or may be nested too deep, is read as ever. For that the C half of Python 3.11 has no error unless
    json.decoder is loaded, which makes it a SystemError.
    """
    try:
        from _json import make_scanner
    except ImportError:  # a Python without it
        return
    _Quick.parse_float, _Quick.parse_constant = _number, _refuse_constant  # type: ignore[attr-defined]
    try:
        _Quick.scan = make_scanner(_Quick)  # type: ignore[arg-type]
    except AttributeError:  # a later Python's asks for more
        pass


def repeated(text: str) -> str:
    """Return a name that an object of a document, which `loads` has read, has twice; "" without."""
    names: list[set[str]] = []
    before: Any = None
    for token in _tokens(text):
        if token is _OBJECT or token is _ARRAY:
            names.append(set())
        elif token is _END_OBJECT or token is _END_ARRAY:
            names.pop()
        elif token is _COLON:
            if before in names[-1]:
                return str(before)
            names[-1].add(before)
        before = token
    return ""


def _explained(text: str) -> ValueError:
    """Return an error with the place of the first mistake, which json finds."""
    import json

    try:
        json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        return _too_deep()
    except ValueError as error:
        return error
    return ValueError("not JSON")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MAX_DEPTH} levels")


# Words: what stands between two quotes is a string, what stands around them is marks, numbers and three names --------


def _tokens(text: str) -> Iterator[Any]:
    """Yield marks and values in their order."""
    pieces = iter(text.split('"'))
    known: dict[str, list[Any]] = {}  # what stands between strings is nearly always the same
    for outside in pieces:
        if outside not in known:
            known[outside] = _outside(outside)
        yield from known[outside]
        inside = next(pieces, None)
        if inside is None:
            return
        parts = [inside]
        while inside.endswith("\\") and (len(inside) - len(inside.rstrip("\\"))) % 2:  # that quote was escaped
            inside = next(pieces, None)
            if inside is None:
                raise _Malformed
            parts.append(inside)
        yield _string('"'.join(parts))
    raise _Malformed  # the last string has no end


def _outside(piece: str) -> list[Any]:
    for blank in _BLANKS:
        piece = piece.replace(blank, " ")
    for mark in _MARKS:
        piece = piece.replace(mark, f" {mark} ")
    return [_WORDS[word] if word in _WORDS else _number(word) for word in piece.split(" ") if word]


def _number(word: str) -> int | float:
    mantissa, exponential, exponent = word.removeprefix("-").replace("E", "e").partition("e")
    whole, point, fraction = mantissa.partition(".")
    if not _digits(whole) or (whole[0] == "0" and whole != "0"):
        raise _Malformed
    if not point and not exponential:
        return int(word)
    if (point and not _digits(fraction)) or (exponential and not _digits(exponent[exponent[:1] in ("+", "-") :])):
        raise _Malformed
    value = float(word)
    if value - value != 0:  # 1e999 is infinite, which no JSON document could say again
        raise ValueError(f"number {word[:20]} is too large")
    return value


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _string(inside: str) -> str:
    if not inside.isprintable() and min(inside) < " ":
        raise _Malformed
    return _unescaped(inside) if "\\" in inside else inside


def _unescaped(inside: str) -> str:
    first, *rest = inside.split("\\")
    found, parts, high = [first], iter(rest), 0  # high: the first half of a surrogate pair that ends what was found
    for part in parts:
        if not part:  # a backslash that was escaped; the next one stands for nothing else
            found.append("\\" + next(parts))
            high = 0
            continue
        letter, tail = part[0], part[1:]
        if letter != "u":
            if letter not in _ESCAPES:
                raise _Malformed
            found.append(_ESCAPES[letter] + tail)
            high = 0
            continue
        code, tail = _code(tail[:4]), tail[4:]
        if high and 0xDC00 <= code < 0xE000:
            found.pop()
            code += 0x10000 - 0xDC00 + ((high - 0xD800) << 10)
        found.append(chr(code) + tail)
        high = code if 0xD800 <= code < 0xDC00 and not tail else 0
    return "".join(found)


def _code(digits: str) -> int:
    try:
        if len(digits) == 4 and digits.isascii() and digits.isalnum():
            return int(digits, 16)
    except ValueError:
        pass
    raise _Malformed


# Grammar -------------------------------------------------------------------------------------------------------------


def _value(token: object, take: Take, depth: int) -> Any:
    if token.__class__ is not _Mark:
        return token
    if depth >= MAX_DEPTH:
        raise _too_deep()
    if token is _OBJECT:
        return _members(take, depth + 1)
    if token is _ARRAY:
        return _items(take, depth + 1)
    raise _Malformed


def _members(take: Take, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = take()
    if name is _END_OBJECT:
        return found
    while name.__class__ is str and take() is _COLON:
        found[name] = _value(take(), take, depth)
        after = take()
        if after is _END_OBJECT:
            return found
        if after is not _COMMA:
            break
        name = take()
    raise _Malformed


def _items(take: Take, depth: int) -> list[Any]:
    found: list[Any] = []
    token = take()
    if token is _END_ARRAY:
        return found
    while True:
        found.append(_value(token, take, depth))
        after = take()
        if after is _END_ARRAY:
            return found
        if after is not _COMMA:
            raise _Malformed
        token = take()


# Writing -------------------------------------------------------------------------------------------------------------


def dumps(value: object, indent: int | None = None, tight: bool = False) -> str:
    """Write one JSON document: ASCII only, keys in their order.

    indent: a line for each value, for people; tight leaves the blanks out. Raises TypeError for what JSON does not
    have, ValueError for numbers that are not finite.
    """
    if indent is not None:
        return _text(value, ",", ": ", "\n", " " * indent)
    return _text(value, ",", ":", "", "") if tight else _text(value, ", ", ": ", "", "")


def _text(value: object, comma: str, colon: str, line: str, indent: str) -> str:
    """Return a value as text. line: what starts a line at the present depth."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value != 0:
            raise ValueError(f"{value} is not JSON")
        return float.__repr__(value)
    deeper = line and line + indent
    if isinstance(value, dict):
        members = [_quoted(name) + colon + _text(item, comma, colon, deeper, indent) for name, item in value.items()]
        return "{" + deeper + (comma + deeper).join(members) + line + "}" if members else "{}"
    if isinstance(value, (list, tuple)):
        items = [_text(item, comma, colon, deeper, indent) for item in value]
        return "[" + deeper + (comma + deeper).join(items) + line + "]" if items else "[]"
    raise TypeError(f"{type(value).__name__} is not JSON")


def _quoted(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a name of type {type(text).__name__} is not JSON")
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        text = "".join(map(_escaped, text))
    return f'"{text}"'


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if " " <= character <= "~":
        return character
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"
