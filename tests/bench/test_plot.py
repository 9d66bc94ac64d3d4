"""The bench's plots: well-formed, and what is linear is a straight line."""

from xml.etree import ElementTree

import pytest

from tests.bench.plot import Line, plot

SVG = "{http://www.w3.org/2000/svg}"


def points(document: str, number: int) -> list[tuple[float, float]]:
    """Return the corners of a line of a plot."""
    line = ElementTree.fromstring(document).findall(f"{SVG}polyline")[number]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split(" "))]


def test_a_linear_growth_is_a_straight_line_along_the_thin_one() -> None:
    document = plot("files & seconds", "files", [Line("a", "red", [(1000, 0.5), (10_000, 5), (100_000, 50)])])
    first, middle, last = points(document, 0)

    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.2)
    (thin,) = (
        line for line in ElementTree.fromstring(document).iter(f"{SVG}line") if "stroke-dasharray" in line.attrib
    )
    assert [float(thin.attrib[name]) for name in ("x1", "y1", "x2", "y2")] == pytest.approx([*first, *last], abs=0.2)


def test_more_is_higher_and_further_to_the_right() -> None:
    document = plot("t", "layers", [Line("a", "red", [(1, 2), (120, 3)]), Line("b <c>", "blue", [(1, 20), (120, 30)])])
    lower, higher = points(document, 0), points(document, 1)

    assert lower[0][0] < lower[1][0]
    assert lower[0][1] > higher[0][1], "the y of SVG grows downwards"
    assert "b <c>" in {text.text for text in ElementTree.fromstring(document).iter(f"{SVG}text")}


def test_a_line_that_is_flat() -> None:
    document = plot("memory", "files", [Line("a", "red", [(1000, 40), (100_000, 40)])])
    first, last = points(document, 0)

    assert first[1] == last[1]
