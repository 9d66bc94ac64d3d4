"""What somebody meant who mistyped a word: the names that are close to it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def hint(word: str, known: Iterable[str]) -> str | None:
    """Return a question for the hint of an error, None where nothing is close."""
    close = get_close_matches(word[:80], list(known), 3, 0.7)
    return f"did you mean {' or '.join(close)}?" if close else None
