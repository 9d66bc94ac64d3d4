"""The bench of verbs: numbers in starts of an interpreter, and bars as long as what they stand for."""

from xml.etree import ElementTree

import pytest

from tests.bench.bars import Bar, bars
from tests.bench.verbs import Times, changed, summary

SVG = "{http://www.w3.org/2000/svg}"
TIMES: Times = {
    "bare": {"python": [(8.0, 10.0), (9.0, 12.0), (6.0, 8.0)]},
    "state": {"runjail": [(12.0, 20.0), (16.0, 30.0), (8.0, 10.0)], "runc": [(4.0, 5.0)] * 3},
}


def test_the_unit_is_the_median_of_bare_starts() -> None:
    rows = summary(TIMES)

    assert rows["bare"]["python"] == {"cpu ms": 8.0, "wall ms": 10.0}
    assert (rows["state"]["runjail"]["cpu"], rows["state"]["runjail"]["wall"]) == (1.5, 2.0)
    assert rows["state"]["runc"] == {"cpu": 0.5, "wall": 0.5, "low": 0.5, "high": 0.5}


def test_a_comparison_says_what_was() -> None:
    rows = summary(TIMES)
    old = {"rows": {"state": {"runjail": {"cpu": 3.0}}}}

    assert changed(rows, old, "state") == "   was 3.00: 0.50 of it"
    assert changed(rows, old, "kill") == changed(rows, None, "state") == ""


def test_bars_are_as_long_as_their_parts() -> None:
    document = bars("a & b", [Bar("x", [("one", 1.0), ("two", 3.0)]), Bar("y", [("one", 2.0)])], ["red"], {"y": 2.0})
    root = ElementTree.fromstring(document)
    parts = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    widths = [float(part.attrib["width"]) for part in parts]
    (goal,) = root.iter(f"{SVG}line")

    assert [part.findtext(f"{SVG}title") for part in parts] == ["one: 1.00", "two: 3.00", "one: 2.00"]
    assert widths == pytest.approx([widths[0], 3 * widths[0], 2 * widths[0]], abs=0.2)
    assert float(goal.attrib["x1"]) == pytest.approx(float(parts[2].attrib["x"]) + widths[2], abs=0.2)
    assert parts[0].attrib["fill"] == "red" != parts[1].attrib["fill"]
