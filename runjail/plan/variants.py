"""D-Bus values as GVariant text, as annotations `org.systemd.property.*` hold them.

Such as `uint64 5`, `'text'`, `['a', 'b']`. The part of GVariant's text form
(docs.gtk.org/glib/gvariant-text-format.html) that systemd's unit properties take: booleans, numbers, texts, and arrays
of one of these.
"""

from __future__ import annotations

NUMBERS = {
    "byte": ("y", 0, 2**8), "int16": ("n", -(2**15), 2**15), "uint16": ("q", 0, 2**16),
    "int32": ("i", -(2**31), 2**31), "uint32": ("u", 0, 2**32), "int64": ("x", -(2**63), 2**63),
    "uint64": ("t", 0, 2**64), "double": ("d", 0, 0),
}  # fmt: skip
ESCAPES = {"n": "\n", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "r": "\r", "v": "\v"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    Single = bool | int | float | str
    Value = Single | tuple[Single, ...]


def parse(text: str) -> tuple[str, Value]:
    """Return a value's D-Bus signature and the value; of an array a tuple. Raises ValueError with what is wrong."""
    text = text.strip()
    if not text.startswith("["):
        signature, single, rest = _single(text)
        _end(rest)
        return signature, single
    items: list[Single] = []
    signatures, rest = set(), text[1:].lstrip()
    while rest and not rest.startswith("]"):
        if items:
            if not rest.startswith(","):
                break
            rest = rest[1:].lstrip()
        signature, single, rest = _single(rest)
        signatures.add(signature)
        items.append(single)
    _end(rest.removeprefix("]") if rest.startswith("]") else "an array without its end")
    if len(signatures) != 1:
        raise ValueError("an array needs values, and all of one type")
    return f"a{signatures.pop()}", tuple(items)


def _end(rest: str) -> None:
    if rest.strip():
        raise ValueError(f"not a value of a property: cannot read {rest.strip()[:40]!r}")


def _single(text: str) -> tuple[str, Single, str]:
    """Return a value's signature, the value, and what follows it."""
    if text[:1] in ("'", '"'):
        value, rest = _quoted(text)
        return "s", value, rest
    end = next((at for at, letter in enumerate(text) if letter in ",] "), len(text))
    word, rest = text[:end], text[end:].lstrip()
    if word in ("true", "false"):
        return "b", word == "true", rest
    if word in NUMBERS:
        end = next((at for at, letter in enumerate(rest) if letter in ",] "), len(rest))
        return NUMBERS[word][0], _number(rest[:end], word), rest[end:].lstrip()
    kind = "double" if "." in word else "int32"
    return NUMBERS[kind][0], _number(word, kind), rest


def _number(text: str, kind: str) -> int | float:
    signature, low, high = NUMBERS[kind]
    try:
        if signature == "d":
            return float(text)
        number = int(text, 0)
    except ValueError:
        raise ValueError(f"not a value of a property: {text[:40]!r}") from None
    if not low <= number < high:
        raise ValueError(f"{text} is out of range for {kind}")
    return number


def _quoted(text: str) -> tuple[str, str]:
    """Return a text between quotation marks, and what follows it."""
    value, at = [], 1
    while at < len(text) and text[at] != text[0]:
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            value.append(ESCAPES.get(text[at], text[at]))
        else:
            value.append(text[at])
        at += 1
    if at >= len(text):
        raise ValueError("a text without its end")
    return "".join(value), text[at + 1 :].lstrip()
