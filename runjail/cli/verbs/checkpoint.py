"""checkpoint and restore: refused, in words that callers can show."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.errors import UsageError

HELP = ""
ARGS = ("WORD...",)
OPTIONS = ()


def run(_args: Args, _context: Context) -> int:
    """Refuse."""
    raise UsageError("checkpoint and restore are not supported: a jail cannot be frozen to disk")
