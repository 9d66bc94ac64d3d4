"""C libraries of the system that stand in for a package of Python, by ctypes(3)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any

from runjail.errors import HostError


def load(names: Iterable[str], functions: Mapping[str, tuple[Any, ...]], version: str, oldest: int) -> Any:
    """Return the first library that has all functions and is new enough, None where there is none.

    functions: what each returns, then its arguments. version: the one that returns the version's number.
    """
    for name in names:
        try:
            found = ctypes.CDLL(name)
            for function, (result, *arguments) in functions.items():
                called = getattr(found, function)
                called.restype, called.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        if getattr(found, version)() >= oldest:
            return found
    return None


def present(handle: int | None) -> int:
    """Return what a function of a library has made. Raises HostError for NULL: it has found no memory."""
    if not handle:
        raise HostError("a library of the system finds no memory", "free some, or raise the limit of this process")
    return handle
