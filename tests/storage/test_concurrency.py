"""Several processes in one store at once."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.storage.layers import add, names

CHAINS = [f"sha256:{number:064x}" for number in range(1, 8)]
# Each image is a path in one tree of layers, so they overlap in their lower ones.
IMAGES = [[0, 1, 3], [0, 1, 4], [0, 2, 5], [0, 2, 6]]


def children(count: int, work: Callable[[int], None]) -> None:
    """Let processes work at the same time, and insist that all succeed."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if not pid:
            status = 1
            signal.alarm(60)  # a process that hangs fails its test, not the whole run
            try:
                work(number)
                status = 0
            except BaseException as error:
                os.write(2, f"process {number}: {error!r}\n".encode())
            finally:
                os._exit(status)
        pids.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    assert statuses == [0] * count


def pull(store: Store, image: list[int]) -> list[int]:
    """Make the layers of an image that are missing. Returns those that this process made."""
    made, parent = [], None
    for number in image:
        chain = CHAINS[number]
        if draft := store.draft(chain, parent):
            with draft:
                Path(draft.path, f"layer{number}").write_text("x" * number)
                time.sleep(random.random() / 50)
                draft.commit()
            made.append(number)
        parent = chain
    return made


def run(store: Store, name: str, image: list[int]) -> None:
    """Make a root of an image, look at it, and remove it."""
    path = Path(store.create_rootfs(name, CHAINS[image[-1]]))
    assert sorted(os.listdir(path)) == sorted(f"layer{number}" for number in image)
    (path / "mine").write_text(name)
    store.remove_root(name)


def test_eight_processes_share_layers(location: str, tmp_path: Path) -> None:
    """Each layer is made once, by one of them, and is whole for all."""
    open_store(location, default="")

    def work(number: int) -> None:
        store = open_store(location, default="")
        image = IMAGES[number % len(IMAGES)]
        made = pull(store, image)
        (tmp_path / f"made-{number}").write_text(" ".join(map(str, made)))
        run(store, f"c{number}", image)

    children(8, work)
    made = [word for path in tmp_path.glob("made-*") for word in path.read_text().split()]
    store = open_store(location, default="")

    assert sorted(made) == sorted(map(str, range(7)))
    assert sorted(layer.chain for layer in store.layers()) == CHAINS
    assert store.sweep() == []
    assert not [name for name in names(store) if "/locks/" in name]


def test_pruning_never_takes_what_others_use(location: str) -> None:
    """While some pull and run, others remove whatever can be removed."""
    open_store(location, default="")
    end = time.monotonic() + 2

    def work(number: int) -> None:
        store = open_store(location, default="")
        while time.monotonic() < end:
            if number < 2:
                prune(store)
                continue
            image = IMAGES[number % len(IMAGES)]
            try:
                pull(store, image)
                run(store, f"c{number}", image)
            except StorageError as error:  # a layer went between two steps: what pull does again
                assert not isinstance(error, InUse), error

    children(5, work)
    store = open_store(location, default="")
    store.sweep()

    assert store.roots() == []
    for layer in store.layers():
        store.create_rootfs("probe", layer.chain)
        store.remove_root("probe")


def prune(store: Store) -> None:
    for layer in store.layers():
        try:
            store.remove_layer(layer)
        except InUse:
            pass
    store.sweep()


def test_one_waits_for_the_other_and_takes_its_layer(store: Store, location: str) -> None:
    read, write = os.pipe()
    draft = store.draft(CHAINS[0], None)
    assert draft

    def work(_number: int) -> None:
        os.write(write, b"x")
        if open_store(location, default="").draft(CHAINS[0], None) is not None:
            raise AssertionError("made twice")

    pid = os.fork()
    if not pid:
        try:
            work(0)
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.read(read, 1)
    time.sleep(0.05)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it did not wait"
    draft.commit()

    assert os.waitpid(pid, 0)[1] == 0
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("same", [True, False])
def test_roots_of_one_name_are_made_once(location: str, same: bool) -> None:
    store = open_store(location, default="")
    add(store, CHAINS[0], {"a": "a"})

    def work(number: int) -> None:
        mine = open_store(location, default="")
        try:
            mine.create_rootfs("web" if same else f"web{number}", CHAINS[0])
        except StorageError as error:
            assert same and "exists already" in str(error)

    children(4, work)

    assert len(store.roots()) == (1 if same else 4)
