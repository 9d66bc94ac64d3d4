"""Stacked bars as SVG, without a library: what a few things consist of, with a goal beside each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, ABOVE, HEIGHT = 720, 70, 60, 60, 30
STYLE = "font-family:sans-serif;font-size:12px"


@dataclass(frozen=True)
class Bar:
    """One bar. parts: names and lengths, from the left."""

    name: str
    parts: Sequence[tuple[str, float]]

    @property
    def length(self) -> float:
        """The whole."""
        return sum(length for _name, length in self.parts)


def bars(title: str, every: Sequence[Bar], colors: Sequence[str], goals: Mapping[str, float]) -> str:
    """Return an SVG document. goals: of some bars, by name; each is a line across its bar."""
    names = list(dict.fromkeys(name for bar in every for name, _length in bar.parts))
    color = dict(zip(names, [*colors, *["#777"] * len(names)], strict=False))
    scale = (WIDTH - LEFT - RIGHT) / max([bar.length for bar in every] + list(goals.values()))
    body = [f'<text x="{LEFT}" y="20" style="{STYLE};font-weight:bold">{escape(title)}</text>']
    at = LEFT
    for name in names:
        body.append(f'<rect x="{at}" y="32" width="12" height="12" fill="{color[name]}"/>')
        body.append(f'<text x="{at + 16}" y="42" style="{STYLE}">{escape(name)}</text>')
        at += 30 + 7 * len(name)
    for number, bar in enumerate(every):
        body += _bar(bar, ABOVE + number * HEIGHT, scale, color, goals.get(bar.name))
    height = ABOVE + len(every) * HEIGHT + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *body, "</svg>", ""])


def _bar(bar: Bar, top: float, scale: float, color: Mapping[str, str], goal: float | None) -> list[str]:
    drawn = [f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end" style="{STYLE}">{escape(bar.name)}</text>']
    at: float = LEFT
    for name, length in bar.parts:
        width = max(length, 0) * scale
        drawn.append(
            f'<rect x="{at:.1f}" y="{top}" width="{width:.1f}" height="20" fill="{color[name]}">'
            f"<title>{escape(name)}: {length:.2f}</title></rect>"
        )
        at += width
    drawn.append(f'<text x="{at + 6:.1f}" y="{top + 15}" style="{STYLE}">{bar.length:.2f}</text>')
    if goal:
        x = round(LEFT + goal * scale, 1)
        drawn.append(f'<line x1="{x}" y1="{top - 3}" x2="{x}" y2="{top + 23}" stroke="black" stroke-width="2"/>')
    return drawn
