"""Locks on open files: waited for, for a while, or not at all."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import locks


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Open one directory twice."""
    found = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    yield found
    for descriptor in found:
        os.close(descriptor)


def test_one_at_a_time(two: tuple[int, int]) -> None:
    first, second = two
    locks.lock(first)
    assert not locks.try_lock(second)
    assert not locks.try_lock(second, shared=True)
    locks.unlock(first)
    assert locks.try_lock(second)


def test_those_who_share(two: tuple[int, int]) -> None:
    """Both have it, and neither gets it alone."""
    first, second = two
    locks.lock(first, shared=True)
    assert locks.try_lock(second, shared=True)
    assert not locks.try_lock(first)


def test_waiting_ends(two: tuple[int, int]) -> None:
    first, second = two
    locks.lock(first)
    began = time.monotonic()
    assert not locks.lock_within(second, 0.05)
    assert time.monotonic() - began >= 0.05
    locks.unlock(first)
    assert locks.lock_within(second, 0.0)


def test_a_refusal_of_the_file_system_is_an_error(two: tuple[int, int]) -> None:
    """Only "somebody else has it" means no."""
    descriptor = os.dup(two[0])
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        locks.try_lock(descriptor)
