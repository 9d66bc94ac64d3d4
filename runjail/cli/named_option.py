"""Errors that begin with the option and the value that were typed."""

from __future__ import annotations

from runjail.errors import RunjailError
from runjail.scope import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@scope
def named(option: str, value: str) -> Iterator[None]:
    """Have an error of the block begin with the option and the value that were typed, "" for none."""
    try:
        yield
    except RunjailError as error:
        error.args = (f"{option} {value[:200]}: {error}" if value else str(error),)
        raise
