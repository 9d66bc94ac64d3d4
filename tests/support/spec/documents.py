"""Documents for the tests of this room: the configurations that engines write, and ways to change any document."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from runjail.errors import InvalidConfig
from runjail.spec.parse import parse
from tests.support.program import TOP
from tests.support.spec.bad_configs import CONFIG

CONFIGS = {path.stem: json.loads(path.read_text()) for path in sorted(TOP.glob("tests/spec/configs/*.json"))}
MAPS = ("annotations", "sysctl", "unified")  # every key means something there

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
# Values that mean something somewhere meet rules that random ones never reach.
WORDS = st.sampled_from(
    "new inherit disable / /dev .. a=b =b -x em0 10.0.0.1 fd00::1 lo1|10.0.0.1/24 tmpfs true RLIMIT_CORE pid user "
    "1.0.0 0-2,5 mount \0 \ud800 \n".split(" ")
) | st.sampled_from(
    ["", -1, 0, 1, 2**31, 2**32 - 1, 2**63, 2**64, 1.0, 1e999, True, False, None, [], {}, [None], "h" * 300]
)
VALUES = WORDS | JSON


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a document, the top included."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """Return what stands at a path."""
    for step in path:
        document = document[step]
    return document


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path."""
    if not path:
        return value
    whole = copy.deepcopy(document)
    at(whole, path[:-1])[path[-1]] = value
    return whole


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw an engine's configuration with one to three places changed, removed or given company."""
    document = CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        value = draw(VALUES)
        here = at(document, path)
        if isinstance(here, dict) and draw(st.booleans()):
            document = changed(document, path, here | {draw(st.text(max_size=9)): value})
        elif isinstance(here, list) and draw(st.booleans()):
            document = changed(document, path, [*here, value])
        else:
            document = changed(document, path, value)
        if not isinstance(document, (dict, list)):
            break
    return document


def with_process(**values: Any) -> dict[str, Any]:
    """Return a good document whose process says something more."""
    return CONFIG | {"process": CONFIG["process"] | values}


def problems(document: Any, os: str = "freebsd") -> tuple[str, ...]:
    """Return the problems of a document that must be refused."""
    with pytest.raises(InvalidConfig) as caught:
        parse(document, os)
    return caught.value.problems
