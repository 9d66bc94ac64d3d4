"""What verbs print for people and for programs: tables, and which of two forms was asked for."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def choice(args: Args, default: str, other: str) -> str:
    """Return which of two forms of the output was asked for."""
    form = args.text("format", default)
    if form not in (default, other):
        raise UsageError(f"--format: not {default} or {other}: {form[:40]!r}")
    return form


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return columns as wide as their widest cell, without trailing blanks. Cells are written by strangers: `plain`."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: control characters and the like are spelled out."""
    return text if text.isprintable() else ascii(text)[1:-1]
