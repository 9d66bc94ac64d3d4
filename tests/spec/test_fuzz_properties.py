"""Documents at random: a plan or a clean error, and nothing that is said in a good one is dropped silently.

Each is one that says everything, with some of it taken away and some said differently; then one more thing is taken
away from it, and that has to be noticed.
"""

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.test_every_property import BESIDE, OTHER, SAID, full, put
from tests.support.spec.every_property import FULL, outcome

Path = tuple[str | int, ...]
NUMBERS = (0, 1, 2, 7, 100, 4096, 10**6, 2**31, -1)
EXAMPLES = 500  # a system

# What may be said or not, since it is so anyway: place and value
USUAL = {
    ("mounts[].type", "bind"),
    ("mounts[].type", "nullfs"),
    ("mounts[].source", "devfs"),  # of file systems that need none
    ("mounts[].source", "tmpfs"),
    ("freebsd.jail.enforceStatfs", 1),  # beside allow.mount
    ("freebsd.jail.host", "new"),  # beside a name
    ("freebsd.jail.vnet", "inherit"),
    ("freebsd.jail.ip4", "inherit"),
    ("freebsd.jail.ip6", "inherit"),
}


def spelled(path: Path) -> str:
    """Write a path as docs/spec-coverage.md does."""
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def leaves(value: Any, path: Path = ()) -> list[Path]:
    """Return the places of all that is neither an object nor a list, or one of these with nothing in it."""
    if isinstance(value, dict) and value:
        return [place for key, item in value.items() for place in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [place for index, item in enumerate(value) for place in leaves(item, (*path, index))]
    return [path]


def holder(document: Any, path: Path) -> tuple[Any, Any]:
    for step in path[:-1]:
        document = document[step]
    return document, path[-1]


def words(path: Path) -> list[str]:
    """Return what may stand at a place of texts."""
    place = spelled(path)
    known = [value for where, value in OTHER.items() if where.endswith(place) and isinstance(value, str)]
    return [*known, "", "x", "0-1", "/x"]


OF_THE_PROCESS = "linux.memoryPolicy"  # says nothing where no program is to run


@st.composite
def documents(draw: st.DrawFn, os: str) -> dict[str, Any]:
    """Return a document with up to four changes."""
    beside = sorted({path for system, path, _ in BESIDE if system == os})
    document = full(os, draw(st.sampled_from(["", *beside])))
    if draw(st.booleans()):
        place = draw(st.sampled_from(sorted(place for place in SAID if "[]" not in place)))
        put(document, place, SAID[place])
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(leaves(document)))
        depth = draw(st.sampled_from([len(path), len(path), len(path), max(1, len(path) - 1)]))
        inside, key = holder(document, path[:depth])
        value = inside[key]
        if isinstance(value, (dict, list)) or draw(st.booleans()):
            del inside[key]
        elif isinstance(value, bool):
            inside[key] = not value
        elif isinstance(value, int):
            inside[key] = draw(st.sampled_from([*NUMBERS, value + 1]))
        else:
            inside[key] = draw(st.sampled_from(words(path)))
    return document


@pytest.mark.parametrize("os", sorted(FULL))
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_nothing_is_dropped_silently(os: str, data: st.DataObject) -> None:
    document = data.draw(documents(os))
    problems, plan, unused = outcome(document, os)
    if problems:
        assert all(re.match(r"[A-Za-z\[\]0-9_.\"\-/ ]+: .", problem) for problem in problems), problems
        return
    path = data.draw(st.sampled_from(leaves(document)))
    value, place = copy.deepcopy(holder(document, path)), spelled(path)
    said = value[0][value[1]]
    if not said or (place, said) in USUAL or any(f"{place}.".startswith((f"{name}.", f"{name}[")) for name in unused):
        return
    if "process" not in document and place.startswith(OF_THE_PROCESS):
        return
    inside, key = holder(document, path)
    del inside[key]

    assert outcome(document, os) != ((), plan, unused), f"{place} {said!r} was dropped"
