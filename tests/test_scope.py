"""Contexts written as generators: what contextlib's do, they do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from runjail.scope import scope

Make = Callable[[Callable[..., Iterator[Any]]], Callable[..., AbstractContextManager[Any]]]
both = pytest.mark.parametrize("make", [scope, contextmanager])


def whole(seen: list[str], swallow: type[BaseException] | tuple[()] = ()) -> Iterator[str]:
    """A context that says what happens to it."""
    seen.append("in")
    try:
        yield "value"
    except swallow:
        seen.append("swallowed")
    finally:
        seen.append("out")


@both
def test_a_block_without_an_error(make: Make) -> None:
    seen: list[str] = []
    with make(whole)(seen) as value:
        seen.append(value)

    assert seen == ["in", "value", "out"]


@both
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, StopIteration, GeneratorExit])
def test_what_the_block_raises_goes_on(make: Make, kind: type[BaseException]) -> None:
    """The very same error, with the line of the block that raised it in its traceback."""
    seen: list[str] = []
    error = kind("why")
    with pytest.raises(BaseException) as raised, make(whole)(seen):
        seen.append("block")
        raise error

    assert seen == ["in", "block", "out"]
    assert raised.value is error or (kind is StopIteration and isinstance(raised.value, RuntimeError))
    assert any(entry.name == "test_what_the_block_raises_goes_on" for entry in raised.traceback)


@both
def test_an_error_that_ends_in_the_context(make: Make) -> None:
    seen: list[str] = []
    with make(whole)(seen, ValueError):
        raise ValueError

    assert seen == ["in", "swallowed", "out"]


@both
def test_an_error_that_the_context_replaces(make: Make) -> None:
    def other() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise KeyError("other") from error

    with pytest.raises(KeyError, match="other") as raised, make(other)():
        raise ValueError

    assert isinstance(raised.value.__cause__, ValueError)


@both
def test_a_context_yields_once(make: Make) -> None:
    def twice() -> Iterator[None]:
        yield
        yield

    with pytest.raises(RuntimeError), make(twice)():
        pass
