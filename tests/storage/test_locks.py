"""Locks that end with their holder, and the programs that inherit them."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import signals
from runjail.errors import StorageError
from runjail.host import programs
from runjail.image.bundle import owned
from runjail.storage import store_lock
from runjail.storage.open import open_store
from runjail.storage.store_lock import InheritedLocks, Lock, StoreDirectory
from tests.support.program import LINUX

SMALL = "size=2m,nr_inodes=30" if LINUX else "size=2m,inodes=30"  # tmpfs(5) of each


@pytest.fixture
def home(tmp_path: Path) -> StoreDirectory:
    return StoreDirectory(str(tmp_path))


def die_with_lock(home: StoreDirectory, kind: str, name: str) -> None:
    pid = os.fork()
    if not pid:
        home.lock(kind, name)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_lock_leaves_no_file(home: StoreDirectory) -> None:
    with home.lock("root", "web") as lock:
        assert home.locks("root") == ["web"]
        assert not lock.abandoned
        assert home.try_lock("root", "web") is None
    lock.release()

    assert home.locks("root") == []
    with home.lock("root", "web"):
        assert home.locks("root") == ["web"]


def test_a_lock_tells_that_its_holder_died(home: StoreDirectory) -> None:
    die_with_lock(home, "root", "web")
    assert home.locks("root") == ["web"]
    with home.lock("root", "web") as lock:
        assert lock.abandoned
    with home.lock("root", "web") as lock:
        assert not lock.abandoned


def test_work_that_was_left_looks_the_same(home: StoreDirectory) -> None:
    home.lock("root", "web").leave()
    with home.lock("root", "web") as lock:
        assert lock.abandoned


def test_shared_locks_share(home: StoreDirectory) -> None:
    one, two = (home.lock("seal", "x", shared=True) for _ in range(2))
    assert home.try_lock("seal", "x") is None
    one.release()
    assert home.locks("seal") == ["x"]
    two.release()

    assert home.locks("seal") == []


def test_nobody_takes_anothers_lock_away(home: StoreDirectory, tmp_path: Path) -> None:
    """Two that share a lock let go at once: the file may be a third one's already when the second gets there."""
    shared = home.lock("seal", "x", shared=True)
    (tmp_path / "locks/seal/x").unlink()
    with home.lock("seal", "x"):
        shared.release()
        assert home.locks("seal") == ["x"]


def test_waiting_ends_with_a_new_lock(home: StoreDirectory) -> None:
    """Who waited for a lock that was taken away gets one of its own, and never two have it."""
    inside, most, abandoned = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, abandoned
        for _ in range(20):
            with home.lock("layer", "x") as lock:
                inside += 1
                most, abandoned = max(most, inside), abandoned + lock.abandoned
                time.sleep(0.0005)  # the others are waiting now
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (most, abandoned) == (1, 0)
    assert home.locks("layer") == []


def test_programs_of_one_that_died_keep_its_lock(home: StoreDirectory) -> None:
    """Or somebody would look at what they are still changing."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write)
        home.lock("layer", "x")
        with InheritedLocks():
            programs.start(["/bin/cat"], {}, [read, 1, 2])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)

    assert home.try_lock("layer", "x") is None
    os.close(write)
    with home.lock("layer", "x") as lock:
        assert lock.abandoned


def test_other_programs_get_no_lock(home: StoreDirectory) -> None:
    with home.lock("layer", "x"):
        (descriptor,) = InheritedLocks.held
        with InheritedLocks():
            assert os.get_inheritable(descriptor)
            assert descriptor in programs.HELD
        assert not os.get_inheritable(descriptor)
        assert descriptor not in programs.HELD
    assert InheritedLocks.held == set()


def test_a_released_lock_is_free_whoever_inherited_it(home: StoreDirectory) -> None:
    read, write = os.pipe()
    lock = home.lock("layer", "x")
    with InheritedLocks():
        pid = programs.start(["/bin/cat"], {}, [read, 1, 2])
    lock.release()
    again = home.try_lock("layer", "x")
    os.close(write)
    os.close(read)
    os.waitpid(pid, 0)

    assert again
    again.release()


def test_half_made_locks_are_swept(home: StoreDirectory, tmp_path: Path) -> None:
    (tmp_path / "locks/new-1-abc").write_text("")
    die_with_lock(home, "layer", "x")
    with home.lock("layer", "held"):
        home.sweep_locks("layer")
        assert home.locks("layer") == ["held"]

    assert not (tmp_path / "locks/new-1-abc").exists()


def test_a_place_that_cannot_be_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        StoreDirectory(str(tmp_path / "file/store"))


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_signal_while_a_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It may come at any instant, and nothing stays that another try would not make."""

    def interrupt(*_args: object) -> None:
        raise signals.Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupt)
        with pytest.raises(signals.Interrupted):
            StoreDirectory(str(tmp_path / "store"))
    assert os.listdir(tmp_path / "store/locks") == []

    assert StoreDirectory(str(tmp_path / "store")).locks("root") == []


def test_a_signal_while_a_bundle_is_made_or_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory goes, before and after it says whose it is."""
    store = open_store(f"dir:{tmp_path}/store", default="")
    bundle = owned.OwnedBundle(store, "web-1", str(tmp_path / "web"), lambda *_: False)

    def interrupt(*_args: object) -> None:
        raise signals.Interrupted(signal.SIGTERM)

    for place in ("write", "locks.lock"):
        with monkeypatch.context() as patch:
            patch.setattr(f"runjail.image.bundle.owned.{place}", interrupt)
            with pytest.raises(signals.Interrupted):
                bundle.__enter__()
        assert os.listdir(store.bundles()) == []
    remove, signalled = store.remove_root, [interrupt]
    monkeypatch.setattr(store, "remove_root", lambda name: signalled.pop()() if signalled else remove(name))
    with pytest.raises(signals.Interrupted), bundle:
        pass

    assert os.listdir(store.bundles()) == []


@pytest.fixture
def full(tmp_path: Path) -> Iterator[StoreDirectory]:
    """A store on a file system that has room for no other file."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", str(place)], check=True)
    try:
        home = StoreDirectory(str(place / "store"))
        with contextlib.suppress(OSError):
            for number in range(1000):
                (place / f"f{number}").mkdir()
        yield home
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.needs("mounts")
def test_who_makes_room_needs_none(full: StoreDirectory) -> None:
    """Nothing could ever be removed otherwise."""
    with pytest.raises(StorageError, match="no space left on device"):
        full.lock("root", "web")

    assert full.locks("root") == []
    with full.lock("root", "web", removing=True) as lock:
        assert not lock.abandoned
    with full.try_lock("layer", "a") or pytest.fail("somebody has it"):
        assert full.locks("layer") == []
    full.sweep_locks("root", "layer")


@pytest.mark.needs("mounts")
def test_a_lock_that_has_no_file_keeps_others_out(full: StoreDirectory) -> None:
    """Also those who find room for theirs meanwhile."""
    lock = full.lock("root", "web", removing=True)
    os.rmdir(Path(full.path).parent / "f0")
    os.rmdir(Path(full.path).parent / "f1")
    os.rmdir(Path(full.path).parent / "f2")
    got: list[Lock] = []
    other = threading.Thread(target=lambda: got.append(StoreDirectory(full.path).lock("root", "web")))
    other.start()
    other.join(0.3)
    assert got == []

    lock.release()
    other.join()
    assert full.locks("root") == ["web"]
    got[0].release()


def test_waiting_for_who_makes_room_ends(home: StoreDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two could wait for each other."""
    monkeypatch.setattr(store_lock, "PATIENCE", 0.05)
    gate = home._gate(shared=False)
    try:
        with pytest.raises(StorageError, match="another process has been making room"):
            home.lock("root", "web")
    finally:
        os.close(gate)

    with home.lock("root", "web"):
        assert home.locks("root") == ["web"]
