"""jsonio reads and writes what json does, without loading it, and refuses what is no JSON."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail import jsonio
from tests.support.program import TOP

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=25,
)


@pytest.fixture(scope="module", params=["in Python", "by the C half of json"], autouse=True)
def reading(request: pytest.FixtureRequest) -> Iterator[None]:
    """How documents are read in the tests below."""
    if request.param == "by the C half of json":
        jsonio.hasten()
        assert jsonio._Quick.scan
    yield
    jsonio._Quick.scan = None


def theirs(text: str) -> Any:
    """What json makes of a text, with the numbers that are no JSON refused."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    def finite(text: str) -> float:
        if math.isinf(float(text)):
            raise ValueError(text)
        return float(text)

    return json.loads(text, parse_constant=refuse, parse_float=finite)


@given(VALUES)
def test_what_is_written_can_be_read(value: Any) -> None:
    """By us and by everybody else; it is ASCII and one line."""
    text = jsonio.dumps(value)

    assert json.loads(text) == jsonio.loads(text) == jsonio.loads(text.encode()) == value
    assert text.isascii()
    assert "\n" not in text
    assert text == json.dumps(value)
    assert jsonio.dumps(value, indent=2) == json.dumps(value, indent=2)
    assert jsonio.dumps(value, tight=True) == json.dumps(value, separators=(",", ":"))


@given(VALUES, st.sampled_from(["", " ", "\n\t "]))
def test_what_json_writes_can_be_read(value: Any, space: str) -> None:
    assert jsonio.loads(space + json.dumps(value) + space) == value
    assert jsonio.loads(json.dumps(value, indent=4, ensure_ascii=False)) == value


@given(st.one_of(st.text(max_size=20), st.text('[]{}",:0123456789.eE+-truefalsn \\u', max_size=30)))
def test_any_text_is_read_as_json_does_or_refused(text: str) -> None:
    """ValueError and nothing else."""
    try:
        expected = theirs(text)
    except ValueError:
        with pytest.raises(ValueError):
            jsonio.loads(text)
        return
    assert jsonio.loads(text) == expected


def test_a_python_whose_json_asks_for_more_is_read_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.15 has an array_hook."""
    monkeypatch.setattr(jsonio._Quick, "scan", None)
    monkeypatch.delattr(jsonio._Quick, "strict")

    jsonio.hasten()

    assert jsonio.loads("[1]") == [1]


PARTS = (
    r"""[ ] { } " , : "a" "a": "\ \\ \" \u00e9 \ud83d \ude00 \u12 \u+123 \x \n null true nul - -0 0 01 1.5 .5 5. 1e5"""
)
PARTS += " 1E+05 1e 2_0 \u0663 NaN -Infinity é 999999999999999999999999"
FRAGMENTS = st.lists(
    st.sampled_from([*PARTS.split(" "), " ", "\n", "\x1f", "\x7f", "\xa0", "\u2028"]), max_size=14
).map("".join)


@settings(max_examples=2000)
@given(FRAGMENTS | FRAGMENTS.map(lambda text: f"[{text}]") | FRAGMENTS.map(lambda text: f'["{text}"]'))
def test_near_misses_are_read_as_json_does_or_refused(text: str) -> None:
    """Texts made of what documents are made of: nothing more is taken, and nothing less."""
    test_any_text_is_read_as_json_does_or_refused.hypothesis.inner_test(text)


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        jsonio.loads(data)
    except ValueError:
        return
    json.loads(data.decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        '{"a":1,}',
        "NaN",
        "-Infinity",
        "[Infinity]",
        "1e999",
        "-1e999",
        "01",
        "'a'",
        "\ufeff{}",
        "{}x",
        "1 2",
        '"\n"',
    ],
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        jsonio.loads(text)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_depth_is_bounded(brackets: str) -> None:
    """Reading recurses: a hundred thousand brackets must be a ValueError, not a dead process."""
    opening, closing = brackets[:-1], brackets[-1]
    for depth in (201, 5_000, 200_000):
        with pytest.raises(ValueError, match="nested deeper than 200 levels"):
            jsonio.loads(opening * depth + closing * depth)
        with pytest.raises(ValueError):
            jsonio.loads(opening * depth)
    deep = opening * 199 + "[]" + closing * 199
    assert jsonio.loads(deep) == json.loads(deep)


def test_brackets_in_strings_are_not_depth() -> None:
    """Escaped quotes do not end a string."""
    value = ["[" * 1000, '\\"' + "{" * 1000, "]"]

    assert jsonio.loads(json.dumps(value)) == value


@pytest.mark.parametrize("value", [{1, 2}, pytest.param(object(), id="object"), b"x", {"a": {1}}, {1: "a"}], ids=str)
def test_what_cannot_be_written(value: Any) -> None:
    with pytest.raises(TypeError, match="is not JSON"):
        jsonio.dumps(value)


@pytest.mark.parametrize("text", ["{broken", '{"a" 1}', "[1,", '"\n"', "[1 2]", "", "NaN", '{"a": 1}}', "[1e999]"])
def test_what_is_no_json_without_json(text: str) -> None:
    """In a process that has loaded the C half alone: a state that was damaged ended list with an internal error."""
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from runjail import jsonio\n"
        "jsonio.hasten()\n"
        "assert jsonio.loads('[1]') == [1] and 'json' not in sys.modules\n"
        f"try:\n    jsonio.loads({text!r})\n"
        "except ValueError:\n    sys.exit(0)\n"
        "sys.exit(1)"
    )

    assert subprocess.run([sys.executable, "-IS", "-c", script], check=False, cwd=TOP).returncode == 0


def test_json_is_not_loaded() -> None:
    """Not for reading and not for writing; only for wording an error."""
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from runjail import jsonio\n"
        "assert jsonio.loads(jsonio.dumps({'a': [1, 2.5, None, 'x']})) == {'a': [1, 2.5, None, 'x']}\n"
        "assert jsonio.dumps({'a': [1]}, indent=1)\n"
        "sys.exit(bool({'json', '_json', 're'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-IS", "-c", script], check=False, cwd=TOP).returncode == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"a": 1, "b": {"a": [{"a": 2}, {"a": "b"}]}, "c": "b"}', ""),
        ('{"a": 1, "b": 2, "a": 3}', "a"),
        ('[{"a": {"x": 1, "\\u0078": 2}}]', "x"),
        ("[1, 1]", ""),
        ('"a"', ""),
    ],
)
def test_names_that_are_there_twice(text: str, name: str) -> None:
    """json and jsonio take the last one; who must not be misled asks."""
    assert jsonio.repeated(text) == name
