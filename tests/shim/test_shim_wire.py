"""The wire format, with protoc as the judge where it is installed."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail import protobuf
from runjail.shim import messages

INNER = {1: ("name", "s"), 2: ("size", "u")}
TABLE = {
    1: ("text", "s"),
    2: ("data", "y"),
    3: ("count", "u"),
    4: ("offset", "i"),
    5: ("flag", "b"),
    6: ("inner", INNER),
    7: ("list", ["s"]),
    8: ("inners", [INNER]),
    9: ("numbers", ["u"]),
    10: ("labels", "m"),
    2000: ("far", "u"),
}
PROTO = """
syntax = "proto3";
message Inner { string name = 1; uint64 size = 2; }
message Outer {
  string text = 1; bytes data = 2; uint64 count = 3; int64 offset = 4; bool flag = 5; Inner inner = 6;
  repeated string list = 7; repeated Inner inners = 8; repeated uint64 numbers = 9; map<string, string> labels = 10;
  uint64 far = 2000; fixed64 skipped = 100; fixed32 skipped_too = 101; double skipped_three = 102;
}
"""
FULL: dict[str, Any] = {
    "text": "züg",
    "data": b"\0\xff",
    "count": 2**63 + 5,
    "offset": -7,
    "flag": True,
    "inner": {"name": "a", "size": 300},
    "list": ["", "x"],
    "inners": [{"name": "b", "size": 0}, {"name": "", "size": 1}],
    "numbers": [1, 0, 128],
    "labels": {"k": "v", "": "w"},
    "far": 1,
}
AS_TEXT = r"""
text: "z\303\274g" data: "\000\377" count: 9223372036854775813 offset: -7 flag: true inner { name: "a" size: 300 }
list: "" list: "x" inners { name: "b" } inners { size: 1 } numbers: 1 numbers: 0 numbers: 128
labels { key: "k" value: "v" } labels { key: "" value: "w" } far: 1 skipped: 5 skipped_too: 6 skipped_three: 1.5
"""
values = st.fixed_dictionaries(
    {
        "text": st.text(),
        "data": st.binary(),
        "count": st.integers(0, 2**64 - 1),
        "offset": st.integers(-(2**63), 2**63 - 1),
        "flag": st.booleans(),
        "inner": st.none() | st.fixed_dictionaries({"name": st.text(), "size": st.integers(0, 2**64 - 1)}),
        "list": st.lists(st.text()),
        "inners": st.lists(st.fixed_dictionaries({"name": st.text(), "size": st.integers(0, 2**32)})),
        "numbers": st.lists(st.integers(0, 2**64 - 1)),
        "labels": st.dictionaries(st.text(), st.text()),
        "far": st.integers(0, 1),
    }
)


@pytest.fixture
def protoc(tmp_path: Path) -> Any:
    """Return a function that encodes text or decodes bytes with protoc."""
    (tmp_path / "outer.proto").write_text(PROTO, encoding="utf-8")

    def run(what: str, data: bytes) -> bytes:
        command = ["protoc", f"--{what}=Outer", "-I", str(tmp_path), "outer.proto"]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    return run


def test_protoc_reads_what_we_write(protoc: Any) -> None:
    ours = protoc("decode", protobuf.encode(TABLE, FULL))
    theirs = protoc("decode", protoc("encode", AS_TEXT.encode()))

    assert b"".join(line for line in theirs.splitlines(True) if b"skipped" not in line) == ours


def test_we_read_what_protoc_writes(protoc: Any) -> None:
    """Packed numbers too; fields that we do not know are skipped, whatever their type."""
    assert protobuf.decode(TABLE, protoc("encode", AS_TEXT.encode())) == FULL


def test_known_bytes() -> None:
    """From the encoding guide: field 1 with 150, a string, a message."""
    assert protobuf.encode({1: ("a", "u")}, {"a": 150}) == b"\x08\x96\x01"
    assert protobuf.encode({2: ("b", "s")}, {"b": "testing"}) == b"\x12\x07testing"
    assert protobuf.encode({3: ("c", {1: ("a", "u")})}, {"c": {"a": 150}}) == b"\x1a\x03\x08\x96\x01"


@given(values)
def test_what_is_written_is_read(message: dict[str, Any]) -> None:
    assert protobuf.decode(TABLE, protobuf.encode(TABLE, message)) == message


@given(st.binary(max_size=60))
def test_garbage_is_a_value_error(data: bytes) -> None:
    """Whoever connects to the socket may send anything."""
    for table in (TABLE, messages.CREATE, messages.REQUEST, messages.EXEC):
        try:
            protobuf.decode(table, data)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08", "a varint without its value"),
        (b"\x0a\x05abc", "a text that is shorter than it says"),
        (b"\x0a\x01\xff", "bytes that are no UTF-8 in a text"),
        (b"\x08\x01", "a number for a text"),
        (b"\x1a\x01\x00", "bytes for a number"),
        (b"\x0b", "a group"),
        (b"\x00\x00", "field number 0"),
        (b"\x18" + b"\xff" * 10 + b"\x01", "a varint that is too long"),
        (b"\xa9\x06\x00", "a fixed64 that is cut off"),
    ],
)
def test_malformed_messages(data: bytes, why: str) -> None:
    with pytest.raises(ValueError):
        protobuf.decode(TABLE, data)


def test_defaults_take_no_bytes() -> None:
    empty = protobuf.decode(TABLE, b"")

    assert protobuf.encode(TABLE, empty) == b""
    assert empty["inner"] is None
    assert protobuf.encode({6: ("inner", INNER)}, {"inner": {}}) == b"\x32\x00"  # present and empty is not absent


def test_a_wrong_name_is_our_mistake() -> None:
    with pytest.raises(KeyError, match="txet"):
        protobuf.encode(TABLE, {"txet": "x"})


def test_the_last_value_wins() -> None:
    assert protobuf.decode(TABLE, b"\x18\x01\x18\x02")["count"] == 2


def test_doubles() -> None:
    """Eight bytes, little-endian; a field of that size that nobody knows is skipped, one of another kind is none."""
    data = protobuf.encode({1: ("avg", "d"), 2: ("none", "d")}, {"avg": 1.5, "none": 0.0})

    assert data == b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f"
    assert protobuf.decode({1: ("avg", "d")}, data) == {"avg": 1.5}
    assert protobuf.decode({2: ("other", "d")}, data) == {"other": 0.0}
    for kind in ("u", "s", {}):
        with pytest.raises(ValueError):
            protobuf.decode({1: ("avg", kind)}, data)
    with pytest.raises(ValueError, match="cut off"):
        protobuf.decode({1: ("avg", "d")}, data[:-1])
    with pytest.raises(ValueError, match="double"):
        protobuf.decode({1: ("avg", "d")}, b"\x08\x01")
