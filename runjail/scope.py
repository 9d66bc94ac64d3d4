"""Contexts written as generators, without contextlib: its import costs each run of an image 2 ms."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def scope(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make a function that yields once return a context: what is before the yield enters it, the rest leaves it.

    What the block raises, the yield raises.
    """

    def make(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        found: AbstractContextManager[Any] = _Scope(function(*args, **kwargs))
        return found

    make.__doc__, make.__name__ = function.__doc__, function.__name__
    return make


class _Scope:
    def __init__(self, steps: Iterator[Any]) -> None:
        self._steps: Any = steps

    def __enter__(self) -> Any:
        return next(self._steps)

    def __exit__(self, kind: object, error: BaseException | None, trace: object, /) -> bool:
        try:
            if error is None:
                next(self._steps)
            else:
                self._steps.throw(error)
        except StopIteration:
            return error is not None
        except BaseException as raised:
            if raised is error:
                return False  # Python raises it, from where it came
            raise
        raise RuntimeError("a scope yields once")
