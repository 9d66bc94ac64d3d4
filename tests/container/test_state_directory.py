"""The state directory: facts, notes, undoing; with a host of Python where one is asked."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runjail import steps
from runjail.container import create, delete, start, status
from runjail.container.container import Runtime, default_root
from runjail.container.reserve import reserve
from runjail.container.state import FIELDS, LATER, ProcessId
from runjail.errors import CleanupError, ContainerNotFound, HostError, InvalidConfig, RunjailError, WrongStatus
from runjail.host.base import HostState
from runjail.target import TARGETS
from tests.support.container.fake_host import FakeHost, made, record

PLANS = st.lists(st.text("abcdef", min_size=1, max_size=3), max_size=12)


@settings(max_examples=60)
@given(names=PLANS, crash=st.integers(0, 12))
def test_notes_are_undone_backwards_whatever_was_done(tmp_path_factory: Any, names: list[str], crash: int) -> None:
    """Any plan, a crash at any step: undoing is the reverse of noting, removes everything, and can be repeated."""
    host: Any = FakeHost()
    runtime = Runtime(host, str(tmp_path_factory.mktemp("state")))
    container = made(runtime)
    for index, name in enumerate(names):
        host.crash_before_step = index == crash
        try:
            host.apply(steps.Cgroup(name, None), container.host_state, container.note)  # type: ignore[arg-type]
        except HostError:
            break
    noted = names[: crash + 1]
    assert [note["name"] for note in container.notes()] == noted
    twice = container.notes()
    delete.destroy(container)
    container.forget()
    assert host.undone == noted[::-1]
    assert host.things == []
    for note in reversed(twice):
        host.undo(note, container.host_state)
    assert host.things == []
    assert list(runtime.ids()) == []


def test_what_cannot_be_undone_is_named_and_kept(runtime: Runtime, host: Any) -> None:
    """The others are undone; the directory stays for another try, which then works."""
    container = made(runtime)
    for name in ("a", "b", "c"):
        host.apply(steps.Cgroup(name, None), container.host_state, container.note)
    host.failing = {"b"}
    with pytest.raises(CleanupError, match="b is stuck"):
        delete.destroy(container)
    assert host.things == ["b"]
    assert list(runtime.ids()) == ["c"]
    container.unlock()
    host.failing, host.undone = set(), []
    delete.delete("c", True, runtime)

    assert host.undone == ["b"], "by now the others may be somebody else's"

    assert host.things == []
    assert list(runtime.ids()) == []


def test_a_failed_creation_tells_both_causes(runtime: Runtime, host: Any) -> None:
    container = made(runtime)
    host.apply(steps.Cgroup("a", None), container.host_state, container.note)
    host.failing = {"a"}
    with pytest.raises(CleanupError, match=r"^the first cause; undoing it failed: a is stuck$"):
        delete.roll_back(container, HostError("the first cause"))
    with pytest.raises(CleanupError, match=r"^no space left on device; undoing it failed: a is stuck$"):
        delete.roll_back(container, OSError(28, "No space left on device"))


def test_taking_back_what_somebody_else_deleted(runtime: Runtime, host: Any) -> None:
    """It is gone: nothing to do, and the new container of that name is left alone."""
    container = made(runtime)
    container.unlock()
    delete.delete("c", True, runtime)
    other = reserve(runtime, "c")
    record(other)
    other.note({"undo": "thing", "name": "other"})
    other.unlock()
    delete.roll_back(container, HostError("x"))

    assert list(runtime.ids()) == ["c"]
    assert "other" not in host.undone


@pytest.mark.parametrize("same_inode", [True, False])
def test_another_container_of_the_id_does_not_exist_for_who_knows_better(
    runtime: Runtime, host: Any, same_inode: bool
) -> None:
    """A shim keeps no directory open; it knows when its container was made, and in which inode."""
    first = made(runtime, created="then")
    identity = first.identity()
    first.unlock()
    knowing = Runtime(host, runtime.root, made=identity)
    assert knowing.find("c").state.created == "then"
    first.remove()
    other = made(runtime, created="later")
    if same_inode:
        knowing.made = [other.identity()[0], "then"]
    other.unlock()
    with pytest.raises(ContainerNotFound):
        knowing.find("c")
    with pytest.raises(ContainerNotFound):
        start.start("c", knowing)
    delete.delete("c", True, knowing)

    assert list(runtime.ids()) == ["c"]
    assert runtime.find("c").state.created == "later"


def test_status(runtime: Runtime, host: Any) -> None:
    """From facts at every question."""
    container = made(runtime)
    host_state = container.host_state
    assert status.status(container) == "stopped"
    host_state.pid, host_state.started = 7, "early"
    host.alive = {7: "early", os.getpid(): "now"}
    assert status.status(container) == "running"
    Path(container.path, "paused").touch()
    assert status.status(container) == "paused"
    Path(container.path, "gate").touch()
    assert status.status(container) == "created"
    container.state.creator = ProcessId(os.getpid(), "now")
    assert status.status(container) == "creating"
    container.state.creator = ProcessId(os.getpid(), "before")
    assert status.status(container) == "stopped"
    container.state.creator = None
    host.alive = {7: "late"}
    assert status.status(container) == "stopped"
    host.alive = {7: "early"}
    container.state.boot_id = "another"
    assert status.status(container) == "stopped"


def test_an_init_without_a_start_time_is_dead(runtime: Runtime, host: Any) -> None:
    """It died before anybody could look: "" must not equal "", or it would live for ever."""
    container = made(runtime)
    container.host_state.pid, container.host_state.started = 7, ""

    assert not status.alive(container)
    assert status.status(container) == "stopped"


def test_who_was_killed_is_deleted_when_it_is_dead(runtime: Runtime, host: Any) -> None:
    container = made(runtime)
    container.host_state.pid, container.host_state.started = 7, "early"
    host.alive, host.dying = {7: "early"}, 3
    container.save()
    container.unlock()
    delete.delete("c", False, runtime)

    assert host.dying == 0 and not Path(container.path).exists()


def test_who_was_killed_and_does_not_die_is_not_deleted(
    runtime: Runtime, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delete, "DEATH_SECONDS", 0.05)
    container = made(runtime)
    container.host_state.pid, container.host_state.started = 7, "early"
    host.alive, host.dying = {7: "early"}, 100000
    container.save()
    container.unlock()

    with pytest.raises(WrongStatus, match="that is not stopped: running"):
        delete.delete("c", False, runtime)
    assert Path(container.path, "state.json").exists()


def test_another_boot_is_not_killed(runtime: Runtime, host: Any) -> None:
    container = made(runtime, boot="another")
    container.host_state.pid, container.host_state.started = 7, "early"
    host.alive = {7: "early"}
    container.save()
    container.unlock()
    delete.delete("c", False, runtime)

    assert host.killed == []


@pytest.mark.parametrize(
    "missing",
    [
        *(key for key in FIELDS if key not in LATER),
        *(f"box.{name}" for name in HostState.FIELDS if name not in HostState.LATER),
    ],
)
def test_facts_are_checked(runtime: Runtime, missing: str) -> None:
    """Each one that is missing, or of another type, is damage."""
    container = made(runtime)
    path = Path(container.path, "state.json")
    document = json.loads(path.read_text())
    section, _, name = missing.rpartition(".")
    part = document["box"] if section else document
    for value in (None, 5.5):
        if name == "creator" and value is None:
            continue
        changed = {**part, name: value}
        path.write_text(json.dumps({**document, "box": changed} if section else changed))
        with pytest.raises(HostError, match="state of c is damaged"):
            runtime.find("c")
    del part[name]
    path.write_text(json.dumps(document))
    with pytest.raises(HostError, match="state of c is damaged"):
        runtime.find("c")


def test_facts_survive_a_round_trip(runtime: Runtime) -> None:
    container = made(runtime, annotations={"ü": "\n", "": "x"})
    container.host_state.pid, container.host_state.namespaces = 5, {"pid": 1}
    container.save()
    found = runtime.find("c")

    assert found.state.to_document() == container.state.to_document()


def test_notes_are_kept_in_order(runtime: Runtime) -> None:
    container = made(runtime)
    notes = [{"undo": "thing", "name": name, "more": ["\n", "ü", None, 1.5]} for name in "abc"]
    for note in notes:
        container.note(note)

    assert container.notes() == notes


def test_a_note_that_does_not_fit_is_an_error(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose note is not on disk must not be done."""
    container = made(runtime)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[: len(data) // 2]))
    with pytest.raises(OSError, match="No space left on device") as caught:
        container.note({"undo": "thing", "name": "a"})
    monkeypatch.undo()
    assert caught.value.filename == f"{container.path}/undo"
    container.note({"undo": "thing", "name": "b"})

    assert [note["name"] for note in container.notes()] == ["b"]


@pytest.mark.parametrize("call", ["write", "open"])
@pytest.mark.parametrize("file", ["state.json", "undo"])
def test_a_full_disk_is_told_by_its_path(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, call: str, file: str
) -> None:
    """Files are written below an open directory: which, nobody would know from `state.json`."""
    container = made(runtime)

    def full(*_arguments: Any, **_named: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device") as caught:
        patch.setattr(os, call, full)
        container.save() if file == "state.json" else container.note({"undo": "thing", "name": "a"})

    assert caught.value.filename == f"{container.path}/{file}"
    assert not list(Path(container.path).glob("*.new"))


@pytest.mark.parametrize("damage", ["{", '{"box": 5}', "boot", "pid", "started", "cgroup"])
@pytest.mark.parametrize("said", [True, False], ids=["paused", "frozen by somebody"])
def test_what_is_frozen_is_thawed_whatever_the_facts_say(runtime: Runtime, host: Any, damage: str, said: bool) -> None:
    """Garbage, or well-formed lies: the notes know init and every group that it was put into."""
    container = made(runtime)
    host_state = container.host_state
    host_state.pid, host_state.started, host_state.cgroup = 7, "early", "new"
    for group in ("old", "new"):
        container.note({"undo": "cgroup", "path": group, "made": [], "name": group})
    container.note({"undo": "init", "pid": 7, "started": "early", "boot": "this boot"})
    container.save()
    if said:
        os.close(container.open("paused", os.O_CREAT))
    container.unlock()
    path = Path(container.path, "state.json")
    facts = json.loads(path.read_text())
    changed = {"boot": {"boot": "that"}, "pid": {"box": {**facts["box"], "pid": 0}}}
    changed |= {name: {"box": {**facts["box"], name: ""}} for name in ("started", "cgroup")}
    path.write_text(damage if "{" in damage else json.dumps(facts | changed[damage]))
    host.alive, host.frozen = {7: "early"}, {"new"}
    delete.delete("c", True, runtime)

    assert host.alive == {}
    assert "new" in host.thawed
    assert list(runtime.ids()) == []


def test_ids_are_those_of_directories(runtime: Runtime, tmp_path: Path) -> None:
    """Sorted; files, names that no container can have, and directories without facts or notes are not ours."""
    assert list(runtime.ids()) == []
    for name in ("b", "a", "with space", "ü", "empty"):
        (tmp_path / "state" / name).mkdir(parents=True)
    for name in ("a/undo", "b/state.json", "with space/state.json", "file"):
        (tmp_path / "state" / name).touch()

    assert list(runtime.ids()) == ["a", "b"]
    with pytest.raises(ContainerNotFound):
        runtime.find("nobody")


INSIDE = {"XDG_RUNTIME_DIR": "/run/user/1000"}


@pytest.mark.parametrize(
    ("euid", "inside", "env", "system", "root"),
    [
        (0, False, {}, "freebsd", "/var/run/runjail"),
        (0, False, {}, "linux", "/run/runjail"),
        (0, False, {"XDG_RUNTIME_DIR": "/run/user/0"}, "linux", "/run/runjail"),
        (0, True, {"USER": "alice", **INSIDE}, "linux", "/run/user/1000/runjail"),  # what podman starts without root
        (0, True, {"USER": "root", **INSIDE}, "linux", "/run/runjail"),
        (0, True, {"USER": "alice"}, "linux", "/run/runjail"),
        (1000, False, {"XDG_RUNTIME_DIR": "/run/user/1000"}, "linux", "/run/user/1000/runjail"),
        (1000, False, {"XDG_RUNTIME_DIR": ""}, "linux", "/run/runjail"),
        (1000, False, {}, "freebsd", "/var/run/runjail"),
    ],
)
def test_the_default_root(
    euid: int, inside: bool, env: dict[str, str], system: str, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only XDG_RUNTIME_DIR and the user decide; root of a user namespace (inside) is one unless he says otherwise."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr("runjail.container.container.in_user_namespace", lambda: inside)
    for name in ("XDG_RUNTIME_DIR", "USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert default_root(TARGETS[system]) == root


def test_a_dead_starter_does_not_block(runtime: Runtime, host: Any) -> None:
    """Who claimed the start and died leaves it to the next; who lives keeps it."""
    container = made(runtime)
    host.alive = {os.getpid(): "now", 99: "now"}
    container.state.starter = ProcessId(99, "now")
    with pytest.raises(RunjailError, match="already running"):
        start._claim(container, [])
    host.alive = {os.getpid(): "now"}
    start._claim(container, [])

    starter = runtime.find("c").state.starter
    assert starter
    assert (starter.pid, starter.start_time) == (os.getpid(), "now")


def test_a_document_that_was_read_is_not_read_again(runtime: Runtime, tmp_path: Path) -> None:
    """An empty one is a config.json too: what is wrong is the one that the caller has read."""
    with pytest.raises(InvalidConfig, match="ociVersion"):
        create.create(create.Request("c", str(tmp_path / "no bundle")), runtime, document={})

    assert list(runtime.ids()) == []
