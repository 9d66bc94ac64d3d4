"""What verbs print for people and for programs: tables, and which of two forms was asked for."""

from __future__ import annotations

import os

from runjail.cli.args import Args
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


CUT, FOLD, AS_IS = "cut", "fold", "as it is"
GAP = 2  # blanks between two columns
NARROWEST = 8  # letters of a column that gives way no further


def choice(args: Args, default: str, other: str) -> str:
    """Return which of two forms of the output was asked for."""
    form = args.text("format", default)
    if form not in (default, other):
        raise UsageError(f"--format: not {default} or {other}: {form[:40]!r}")
    return form


def table(rows: Sequence[Sequence[str]], *, fit: str = CUT) -> str:
    """Return columns as wide as their widest cell, without trailing blanks. Cells are written by strangers: `plain`.

    fit: what becomes of cells that are too long for the terminal, if it goes to one: CUT, with …, or FOLD, going on
    below, or AS_IS, as digests that somebody copies.
    """
    rows = [[plain(cell) for cell in row] for row in rows]
    widest = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths = _fitted(widest, 0 if fit == AS_IS else terminal_columns())
    lines = [line for row in rows for line in (_folded(row, widths) if fit == FOLD else [_cut(row, widths)])]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def terminal_columns() -> int:
    """Return how wide the terminal is to which standard output goes, 0 for what is no terminal."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0


def _fitted(widths: list[int], columns: int) -> list[int]:
    """Return widths that fit, the widest column giving way first. columns: 0 for as wide as it gets."""
    excess = sum(widths) + GAP * (len(widths) - 1) - columns if columns else 0
    while excess > 0 and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
        excess -= 1
    return widths


def _cut(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell, width in zip(row, widths, strict=True)]


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Return a row as several lines, parted at blanks where there are any."""
    cells = [_parts(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [[cell[line] if line < len(cell) else "" for cell in cells] for line in range(max(map(len, cells)))]


def _parts(cell: str, width: int) -> list[str]:
    found = []
    while len(cell) > width:
        end = cell.rfind(" ", 1, width + 1)
        end = end if end > 0 else width
        found.append(cell[:end].rstrip())
        cell = cell[end:].lstrip()
    return [*found, cell]


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: control characters and the like are spelled out."""
    return text if text.isprintable() else ascii(text)[1:-1]
