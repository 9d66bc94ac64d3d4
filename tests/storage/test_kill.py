"""SIGKILL at every instant: what is left is removed, or it is whole."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from runjail.errors import InUse, StorageError
from runjail.storage import overlay_mount
from runjail.storage.base import RootfsUse, Store
from runjail.storage.open import open_store
from runjail.storage.zfs_cli import Cli
from runjail.storage.zfs_open import open_at as open_zfs
from tests.support.storage.kinds import KINDS, mounts
from tests.support.storage.layers import A, B, add, names

pytestmark = pytest.mark.slow
STEP = 4
FILES = {"etc/motd": "hello", "bin/sh": "#!"}


def make_layer(store: Store) -> None:
    if draft := store.draft(B, A):
        with draft:
            Path(draft.path, "etc/new").write_text("new")
            draft.commit()


def give_up(store: Store) -> None:
    draft = store.draft(B, A)
    assert draft
    draft.abort()


def create_rootfs(store: Store) -> None:
    store.create_rootfs("web", A, use=RootfsUse(properties={"image": "x"}))


def remove_root(store: Store) -> None:
    store.remove_root("web")


def remove_layer(store: Store) -> None:
    for layer in store.layers():
        if layer.chain == B:
            store.remove_layer(layer)


Action = Callable[[Store], None]
# What has to be there before, what is done, what takes it back.
ACTIONS: dict[str, tuple[list[Action], Action, list[Action]]] = {
    "make a layer": ([], make_layer, [remove_layer]),
    "give a layer up": ([], give_up, []),
    "remove a layer": ([make_layer], remove_layer, []),
    "make a root": ([], create_rootfs, [remove_root]),
    "remove a root": ([create_rootfs], remove_root, []),
}


def in_child(call: Callable[[], None]) -> bool:
    """Run this in a child. False when the child was killed."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            call()
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFEXITED(status)


def swept(store: Store) -> list[str]:
    """Sweep until nobody holds a lock any more: programs of who was killed end by themselves. Returns all names."""
    end = time.monotonic() + 120
    while [name for name in names(store) if "/locks/" in name]:
        assert time.monotonic() < end, "a lock stays"
        store.sweep()
    store.sweep()
    return names(store)


def insist(act: Action, store: Store) -> None:
    """Do it, as soon as the programs of one that was killed have ended."""
    end = time.monotonic() + 120
    while True:
        try:
            act(store)
            return
        except InUse:
            assert time.monotonic() < end
            time.sleep(0.01)
        except StorageError as error:  # it was done, to the last call but those that change nothing
            assert "exists already" in str(error)
            assert store.sweep() == []
            return


def survives(store: Store, action: str, run: Callable[[Action, int], bool]) -> int:
    """Do something again and again, killed a little later each time, until it gets through.

    Each time, sweep leaves what there was before or what there is afterwards, and it can be done before and after that.
    Returns how often it was killed.
    """
    before, act, after = ACTIONS[action]
    add(store, A, FILES)
    empty = names(store)
    for number in range(1, 2000):
        for each in before:
            each(store)
        start = names(store)
        finished = run(act, number)
        if number % 2 and not finished:
            insist(act, store)  # what was left is in nobody's way
        left = swept(store)
        for root in store.roots():
            assert Path(root.path, "etc/motd").read_text() == "hello", number
        for layer in store.layers():
            store.create_rootfs("probe", layer.chain)
            probe = store.root("probe")
            assert probe
            assert (Path(probe.path) / "etc/motd").read_text() == "hello", number
            assert os.path.exists(f"{probe.path}/etc/new") == (layer.chain == B), number
            store.remove_root("probe")
        if left == start and not finished:
            act(store)
        for each in after:
            each(store)
        for undo in (remove_root, remove_layer):
            undo(store)
        assert names(store) == empty, number
        assert store.sweep() == [], number
        if finished:
            return number - 1
    raise AssertionError("it never gets through")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.values != ("zfs",)])
@pytest.mark.parametrize("action", ACTIONS)
def test_directories_survive_a_kill_between_system_calls(tmp_path: Path, action: str, kind: str) -> None:
    """Before every STEPth call that the store makes, mounts included; with STEP = 1 it takes a minute."""
    location = f"{kind}:{tmp_path}/store"
    store = open_store(location, default="")

    def run(act: Action, number: int) -> bool:
        calls = number * STEP

        def killing(frame: FrameType, event: str, function: object) -> None:
            nonlocal calls
            system = event == "c_call" and getattr(function, "__module__", "") in ("posix", "fcntl")
            if system or (event == "call" and frame.f_code is overlay_mount._call.__code__):
                calls -= 1
                if not calls:
                    os.kill(os.getpid(), signal.SIGKILL)

        def child() -> None:
            mine = open_store(location, default="")
            sys.setprofile(killing)
            act(mine)
            sys.setprofile(None)

        return in_child(child)

    assert survives(store, action, run) > 10
    assert mounts(tmp_path) == []


SCRIPT = """#!/bin/sh
read -r count <{counter}
echo $((count - 1)) >{counter}
if [ "$count" -eq 1 ]; then
    kill -9 $PPID
    {then}
fi
exec {zfs} "$@"
"""


@pytest.mark.needs("zfs")
@pytest.mark.parametrize("then", ["exit", "sleep 0.1"], ids=["before it", "while it runs"])
@pytest.mark.parametrize("action", ACTIONS)
def test_datasets_survive_a_kill_at_any_command(dataset: str, tmp_path: Path, action: str, then: str) -> None:
    """Also while zfs(8) runs, which then does its work when we are gone already."""
    from runjail.storage import zfs_cli

    found = zfs_cli.find()
    assert found
    script, counter = tmp_path / "zfs", tmp_path / "counter"
    script.write_text(SCRIPT.format(counter=counter, then=then, zfs=found._zfs_path))
    script.chmod(0o755)
    store = open_store(f"zfs:{dataset}", default="")

    def run(act: Action, number: int) -> bool:
        counter.write_text("0\n")
        mine = open_zfs(dataset, default="", warn=pytest.fail, zfs=Cli(str(script), found._zpool_path))
        counter.write_text(f"{number}\n")
        return in_child(lambda: act(mine))

    assert survives(store, action, run) > 1  # a root takes two commands
