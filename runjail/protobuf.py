"""Protocol Buffers' wire format, driven by tables: the few messages of a shim need no generated code.

A table is a dict from field number to (name, kind). Kinds: "s" string, "y" bytes, "u" unsigned and "i" signed varint,
"b" bool, "d" double, "m" map from string to string, a table for a message, and a list of one kind for a repeated field.
A message is a dict by field name, complete when decoded: absent fields have their defaults, absent messages are None.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]
    Table = dict[int, tuple[str, Any]]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FIXED32_SIZE = 4  # no message of ours has such fields
DOUBLE = struct.Struct("<d")
MASK = (1 << 64) - 1
MOST_FIELDS = 1 << 16  # of one message, as often as repeated ones occur
PAIR = {1: ("key", "s"), 2: ("value", "s")}  # an entry of a map
DEFAULTS = {"s": "", "y": b"", "u": 0, "i": 0, "b": False, "d": 0.0}


def encode(table: Table, message: Message) -> bytes:
    """Return the bytes of a message; fields at their default take none. Raises KeyError for a name not in the table."""
    unknown = message.keys() - {name for name, _ in table.values()}
    if unknown:
        raise KeyError(f"no such fields: {sorted(unknown)}")
    parts: list[bytes] = []
    for number, (name, kind) in table.items():
        value = message.get(name)
        if isinstance(kind, list):
            parts += [_field(number, kind[0], each) for each in value or ()]
        elif kind == "m":
            parts += [_field(number, PAIR, {"key": key, "value": text}) for key, text in (value or {}).items()]
        elif value is not None and value != DEFAULTS.get(kind if isinstance(kind, str) else ""):
            parts.append(_field(number, kind, value))
    return b"".join(parts)


def _field(number: int, kind: Any, value: Any) -> bytes:
    if kind in ("u", "i", "b"):
        return _varint(number << 3 | VARINT) + _varint(int(value) & MASK)
    if kind == "d":
        return _varint(number << 3 | FIXED64) + DOUBLE.pack(value)
    data = encode(kind, value) if isinstance(kind, dict) else value.encode("utf-8", "replace") if kind == "s" else value
    return _varint(number << 3 | LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(table: Table, data: bytes) -> Message:
    """Return the message that `data` holds; fields that are not in the table are skipped.

    Raises ValueError for what is no message of this table: cut off, a wire type that does not fit, bad UTF-8; and for
    one of too many fields, two bytes of which would take hundreds here.
    """
    message: Message = {name: _default(kind) for name, kind in table.values()}
    at = count = 0
    while at < len(data):
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"more than {MOST_FIELDS} fields")
        tag, at = _read_varint(data, at)
        value, at = _read_value(data, at, tag & 7)
        name, kind = table.get(tag >> 3, ("", None))
        if not tag >> 3:
            raise ValueError("field number 0")
        if name:
            _put(message, name, kind, value)
    return message


def _default(kind: Any) -> Any:
    if isinstance(kind, list):
        return []
    return {} if kind == "m" else None if isinstance(kind, dict) else DEFAULTS[kind]


def _put(message: Message, name: str, kind: Any, value: int | float | bytes | None) -> None:
    """Store one field. The last of several wins, but for repeated ones."""
    if isinstance(kind, list):
        if kind[0] in ("u", "i", "b") and isinstance(value, bytes):  # packed
            at = 0
            while at < len(value):
                number, at = _read_varint(value, at)
                message[name].append(_value(kind[0], number))
        else:
            message[name].append(_value(kind[0], value))
    elif kind == "m":
        entry = _value(PAIR, value)
        message[name][entry["key"]] = entry["value"]
    else:
        message[name] = _value(kind, value)


def _value(kind: Any, value: int | float | bytes | None) -> Any:
    if kind in ("u", "i", "b"):
        if not isinstance(value, int):
            raise ValueError("a number is expected")
        if kind == "i" and value >> 63:
            return value - (1 << 64)
        return bool(value) if kind == "b" else value
    if kind == "d":
        if not isinstance(value, float):
            raise ValueError("a double is expected")
        return value
    if not isinstance(value, bytes):
        raise ValueError("bytes are expected")
    if isinstance(kind, dict):
        return decode(kind, value)
    return value.decode() if kind == "s" else value


def _read_value(data: bytes, at: int, wire: int) -> tuple[int | float | bytes | None, int]:
    if wire == VARINT:
        return _read_varint(data, at)
    if wire == LENGTH:
        length, at = _read_varint(data, at)
        end = at + length
    elif wire in (FIXED64, FIXED32):
        end = at + (DOUBLE.size if wire == FIXED64 else FIXED32_SIZE)
    else:
        raise ValueError(f"unknown wire type {wire}")
    if end > len(data):
        raise ValueError("cut off")
    if wire == LENGTH:
        return data[at:end], end
    return (DOUBLE.unpack_from(data, at)[0] if wire == FIXED64 else None), end


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & MASK, at
    raise ValueError("cut off")
