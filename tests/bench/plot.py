"""Plots with logarithmic scales as SVG, without a library: a few lines, their names, and a thin one that is linear."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, ABOVE, BELOW = 70, 90, 40, 50
STYLE = "font-family:sans-serif;font-size:12px"


@dataclass(frozen=True)
class Line:
    """One line of a plot. points: (x, y), all above zero, by rising x."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


def plot(title: str, across: str, lines: Sequence[Line]) -> str:
    """Return an SVG document. across: what x is."""
    every = [point for line in lines for point in line.points]
    x, y = (
        _Scale([point[0] for point in every], LEFT, WIDTH - RIGHT),
        _Scale([point[1] for point in every], HEIGHT - BELOW, ABOVE),
    )
    body = [f'<text x="{LEFT}" y="22" style="{STYLE};font-weight:bold">{escape(title)}</text>']
    for value in x.marks():
        body.append(_grid(x.at(value), ABOVE, x.at(value), HEIGHT - BELOW))
        body.append(_text(x.at(value), HEIGHT - BELOW + 18, _number(value), "middle"))
    for value in y.marks():
        body.append(_grid(LEFT, y.at(value), WIDTH - RIGHT, y.at(value)))
        body.append(_text(LEFT - 8, y.at(value) + 4, _number(value), "end"))
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle"))
    body.append(_linear(lines[0], x, y))
    for number, line in enumerate(lines):
        body += _line(line, x, y, -6 if number % 2 else 14)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *body, "</svg>", ""])


class _Scale:
    """A logarithmic scale from the power of ten below the least value to the one above the greatest."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self._low, self._high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self._high = max(self._high, self._low + 1)
        self._first, self._last = first, last

    def at(self, value: float) -> float:
        """Return where a value is."""
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._first + part * (self._last - self._first), 1)

    def marks(self) -> list[float]:
        """Return the powers of ten."""
        return [10.0**power for power in range(self._low, self._high + 1)]


def _linear(line: Line, x: _Scale, y: _Scale) -> str:
    """Return a thin line from where one begins to where it would end if y grew as x does."""
    (at, value), end = line.points[0], line.points[-1][0]
    to = min(value * end / at, y.marks()[-1])
    places = f'x1="{x.at(at)}" y1="{y.at(value)}" x2="{x.at(to / value * at)}" y2="{y.at(to)}"'
    return f'<line {places} stroke="#999" stroke-dasharray="4 3"/>'


def _line(line: Line, x: _Scale, y: _Scale, beside: int) -> list[str]:
    points = " ".join(f"{x.at(at)},{y.at(value)}" for at, value in line.points)
    drawn = [f'<polyline points="{points}" fill="none" stroke="{line.color}" stroke-width="2"/>']
    drawn += [f'<circle cx="{x.at(at)}" cy="{y.at(value)}" r="3" fill="{line.color}"/>' for at, value in line.points]
    at, value = line.points[-1]
    where = f'x="{x.at(at) + 8}" y="{y.at(value) + beside}"'
    return [*drawn, f'<text {where} style="{STYLE};fill:{line.color}">{escape(line.name)}</text>']


def _grid(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" style="{STYLE}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
