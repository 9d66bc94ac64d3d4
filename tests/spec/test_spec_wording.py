"""Whatever is repeated in a message stays on its line, in ASCII and short."""

import pytest

from runjail.spec.problems import LONGEST, any_of, json_path, order, quote


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "document"),
        (("process", "user", "uid"), "process.user.uid"),
        (("mounts", 2, "destination"), "mounts[2].destination"),
        ((0, "path"), "[0].path"),
        (("annotations", "org.freebsd.parentJail"), 'annotations["org.freebsd.parentJail"]'),
        (("annotations", ""), 'annotations[""]'),
        (("annotations", 'a"b\n'), 'annotations["a\\"b\\n"]'),
        (("annotations", "\u00e9"), 'annotations["\\u00e9"]'),
        (("sysctl", "k" * 500), 'sysctl["' + "k" * 60 + '..."]'),
    ],
)
def test_places(path: tuple[str | int, ...], text: str) -> None:
    assert json_path(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", '"a b"'),
        ("\x7f\x1b[2J", '"\\u007f\\u001b[2J"'),
        ("h" * 5000, '"' + "h" * 60 + '..."'),
        ("\u00e9" * 5000, '"' + "\\u00e9" * 5 + '..."'),
        ("\ud800", '"\\ud800"'),
        (True, "true"),
        (None, "null"),
        (-5, "-5"),
        (10**200, "a number of that size"),
        (1.5, "1.5"),
        (float("inf"), "inf"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert quote(value) == text


@pytest.mark.parametrize("text", ["\U0001f600" * 100, '"' * 100, "\\" * 79, "\x00" * 100])
def test_values_stay_short(text: str) -> None:
    """Even where escapes take twelve times the room."""
    assert len(quote(text)) <= LONGEST


def test_choices() -> None:
    assert any_of(["new"]) == '"new"'
    assert any_of(("disable", "new", "inherit")) == '"disable", "new" or "inherit"'


def test_list_items_are_in_the_order_of_their_numbers() -> None:
    paths: list[tuple[str | int, ...]] = [("b",), ("a", 10, "x"), ("a", 9), ("a", 10), ("a",)]

    assert sorted(paths, key=order) == [("a",), ("a", 9), ("a", 10), ("a", 10, "x"), ("b",)]
