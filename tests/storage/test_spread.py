"""Trees that several threads copy, link and remove: the result is the same, the first error ends all."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree, remove_tree
from runjail.storage.spread import ENOUGH, _Todo, spread
from tests.support.leaks import Held
from tests.support.storage.facts import facts

LONGEST = 120.0  # seconds that a loaded machine may need


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A tree with more directories, and more files in one of them, than one thread takes; files have further names."""
    top = tmp_path / "wide"
    for number in range(60):
        inner = top / f"d{number % 7}" / f"e{number}"
        inner.mkdir(parents=True)
        (inner / "file").write_text(f"{number}")
        os.link(inner / "file", top / f"link{number}")
        os.utime(inner, ns=(number, number))
    for number in range(2 * copy_tree.TOGETHER + 50):
        (top / "d0" / f"f{number}").write_text("x" * number)
    os.utime(top / "d0", ns=(5, 5))
    return top


@pytest.fixture
def ends(wide: Path, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Descriptors of the tree and of a new directory, `copy`."""
    (tmp_path / "copy").mkdir()
    opened = [os.open(path, DIRECTORY) for path in (wide, tmp_path / "copy")]
    yield opened[0], opened[1]
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_copies_are_the_same_whoever_makes_them(
    ends: tuple[int, int], wide: Path, tmp_path: Path, threads: int
) -> None:
    copier = copy_tree.Copier(*ends, threads)
    copier.copy()

    assert facts(tmp_path / "copy") == facts(wide)
    assert copier.total == sum({path.stat().st_ino: path.stat().st_size for path in _files(wide)}.values())


def test_one_who_may_have_no_threads_does_all_of_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes is no reason for a container's files to stay."""
    tries, done = [], []

    def refuse(thread: threading.Thread) -> None:
        tries.append(thread)
        raise RuntimeError("can't start new thread")

    def work(number: int) -> list[int]:
        done.append(number)
        return []

    monkeypatch.setattr(threading.Thread, "start", refuse)

    spread(range(10 * ENOUGH), work, 8)

    assert sorted(done) == list(range(10 * ENOUGH))
    assert len(tries) == 1


@pytest.mark.parametrize("threads", [1, 8])
def test_links_are_the_same_by_any_number(ends: tuple[int, int], wide: Path, tmp_path: Path, threads: int) -> None:
    copier = copy_tree.Copier(*ends, threads)
    copier.link()

    assert facts(tmp_path / "copy") == facts(wide)
    assert copier.linked == {path.stat().st_ino for path in _files(wide)}


@pytest.mark.parametrize("threads", [1, 8])
def test_all_is_removed_whoever_does_it(wide: Path, threads: int) -> None:
    remove_tree.remove(str(wide.parent), wide.name, threads)

    assert os.listdir(wide.parent) == []


def test_an_error_of_any_thread_is_raised_when_nobody_works_any_more() -> None:
    working, before, ours = threading.Semaphore(0), Held(), threading.current_thread()

    def work(number: int) -> list[int]:
        if number < 0:
            return list(range(2 * ENOUGH))
        if threading.current_thread() is ours:
            assert working.acquire(timeout=LONGEST), "a helper has begun"
            return []
        working.release()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        spread([-1], work, 2)
    assert before.more() == []


def test_ctrl_c_ends_helpers() -> None:
    before, ours, begun = Held(), threading.current_thread(), threading.Event()
    done: list[int] = []

    def work(number: int) -> list[int]:
        if number < 0:
            return list(range(1000))
        if threading.current_thread() is ours:
            assert begun.wait(LONGEST)
            raise KeyboardInterrupt
        begun.set()
        done.append(number)
        return [number]  # for ever

    with pytest.raises(KeyboardInterrupt):
        spread([-1], work, 4)
    assert before.more() == []


def test_an_error_between_two_looks_of_a_helper_ends_it() -> None:
    """After it had taken an item it put those that follow into a new list, and went on for ever."""

    class Failing(list[int]):
        def pop(self, *_: Any) -> int:
            item = super().pop()
            todo.fail(KeyboardInterrupt())
            return item

    todo = _Todo([], lambda number: [number])
    todo.waiting = Failing([1])
    helper = todo.helper()
    helper.join(LONGEST)

    assert not helper.is_alive()


def test_what_comes_late_is_done_as_well() -> None:
    """Items of one chain, each of which gives the next, while the other threads have nothing to do."""
    done: list[int] = []

    def work(number: int) -> list[int]:
        done.append(number)
        return [number + 1] if number % 100 else []

    spread([base + 1 for base in range(0, 4000, 100)], work, 8)

    assert sorted(done) == list(range(1, 4001))


def _files(top: Path) -> list[Path]:
    return [path for path in top.rglob("*") if path.is_file()]
