"""State directories that an earlier version wrote (recorded/) are read, changed and deleted by this one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runjail.container import delete, status
from runjail.container.container import Container, Runtime
from runjail.container.state import State
from runjail.errors import HostError
from runjail.host.base import HostState
from tests.support.container.fake_host import FakeHost, made

RECORDED = sorted((Path(__file__).parent / "recorded").iterdir())
FACTS = [path for path in RECORDED if (path / "undo").exists()]


class Host(FakeHost):
    """The machine on which a directory was recorded: whoever it names lives, unless the container had stopped."""

    boot = ""

    def boot_id(self) -> str:
        return self.boot

    def undo(self, note: dict[str, Any], host_state: HostState) -> None:
        self.things.append(json.dumps(note))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def recorded(request: pytest.FixtureRequest, runtime: Runtime, host: Host) -> tuple[Container, dict[str, Any]]:
    """Return a container that was recorded, and the state document of then."""
    path: Path = request.param
    expected: dict[str, Any] = json.loads((path / "expected.json").read_text())
    shutil.copytree(path, Path(runtime.root, expected["id"]), ignore=shutil.ignore_patterns("expected.json"))
    facts = json.loads((path / "state.json").read_text())
    host.boot = facts["boot"]
    if expected["status"] != "stopped":
        lives = facts["creator"] or (facts["box"]["pid"], facts["box"]["started"])
        host.alive = {lives[0]: lives[1]}
    return runtime.container(expected["id"]), expected


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name, indirect=True)
def test_recorded_state_reads_as_it_did(recorded: tuple[Container, dict[str, Any]]) -> None:
    container, expected = recorded
    container.load()

    assert status.document(container) == expected


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name, indirect=True)
def test_recorded_state_is_written_as_it_was(recorded: tuple[Container, dict[str, Any]]) -> None:
    """The version that wrote it may read it again: after a downgrade, or from a shim that still runs.

    Fields of hosts that came since are added.
    """
    container, _expected = recorded
    before = json.loads(Path(container.path, "state.json").read_text())
    with container:
        container.load()
        container.save()

    after = json.loads(Path(container.path, "state.json").read_text())
    assert {**after, "box": {name: after["box"][name] for name in before["box"]}} == before


@pytest.mark.parametrize("recorded", FACTS, ids=lambda path: path.name, indirect=True)
@pytest.mark.parametrize("damage", ["", "{", "gone", '{"id": "web", "init_process_pid": 7}'])
def test_recorded_notes_take_a_container_back_whatever_its_state_says(
    recorded: tuple[Container, dict[str, Any]], damage: str, runtime: Runtime, host: Host
) -> None:
    """Also where the state is another program's: init is killed, and every change undone, the last first."""
    container, _expected = recorded
    notes = container.notes()
    path = Path(container.path, "state.json")
    if damage == "gone":
        path.unlink()
    elif damage:
        path.write_text(damage)
    delete.delete(container.id, True, runtime)

    assert host.alive == {}
    assert host.things == [json.dumps(note) for note in reversed(notes) if note["undo"] != "init"]
    assert list(runtime.ids()) == []


def test_hooks_are_as_create_stored_them(runtime: Runtime) -> None:
    hook = {"path": "/bin/true", "args": ["true", "-x"], "env": ["A=b"], "timeout": 5}
    container = made(runtime, hooks={"poststop": [hook, {**hook, "timeout": None}]})
    first, second = runtime.find("c").state.hooks_of("poststop")

    assert (first.path, first.args, first.env, first.timeout) == ("/bin/true", ("true", "-x"), ("A=b",), 5)
    assert second.timeout is None
    assert container.state.hooks_of("poststart") == ()


def test_updates_are_numbers_texts_and_switches(runtime: Runtime) -> None:
    """Whatever `update` takes is read again."""
    updates = {"pids_limit": 5, "cpus": "0-1", "oom_killer_off": True}
    made(runtime, updates=updates)

    assert runtime.find("c").state.updates == updates


def test_what_a_later_version_writes_stays(runtime: Runtime) -> None:
    container = made(runtime, generation={"n": 1})
    container.state.creator = None
    container.save()

    assert json.loads(Path(container.path, "state.json").read_text())["generation"] == {"n": 1}


HOOK = {"path": "/h", "args": [], "env": [], "timeout": None}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"boot": None}, "boot"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"creator": [1]}, "creator"),
        ({"creator": [True, "x"]}, "creator"),
        ({"starter": ["1", "x"]}, "starter"),
        ({"nri": "konfine"}, "nri"),
        ({"updates": {"cpus": None}}, "updates"),
        ({"hooks": {"poststop": HOOK}}, "hooks"),
        *(({"hooks": {"poststop": [{**HOOK, key: 1.5}]}}, "hooks") for key in HOOK),
        ({"box": []}, "box"),
        ({"box": {}}, "box.id"),
    ],
)
def test_damage_is_named_by_its_field(runtime: Runtime, change: dict[str, Any], field: str) -> None:
    """In one line, with the remedy; nothing is deleted without force."""
    path = Path(made(runtime).path, "state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(HostError, match=f"^state of c is damaged: {field}$") as failure:
        runtime.find("c")

    assert failure.value.hint == "runjail delete --force removes it"
    assert path.exists()


@pytest.mark.parametrize("document", [[], None, 5, "state"])
def test_a_state_is_an_object(document: object) -> None:
    with pytest.raises(ValueError, match=r"^not an object$"):
        State.from_document(document)


def test_unlocked_has_the_lock_and_the_state_of_then(runtime: Runtime) -> None:
    """What another runjail wrote meanwhile is known afterwards, and is not overwritten."""
    container = made(runtime)
    with container.unlocked(), runtime.container("c") as other:
        other.load()
        other.state.updates = {"pids_limit": 5}
        other.save()

    assert container.state.updates == {"pids_limit": 5}
    assert not runtime_locks(runtime), "it is locked again"


def test_unlocked_stays_so_after_an_exception(runtime: Runtime) -> None:
    """Another container with the id by then must not turn the cause into "does not exist"."""
    container = made(runtime)
    with pytest.raises(ZeroDivisionError), container.unlocked():
        container.runtime.made = (0, "")
        raise ZeroDivisionError

    container.runtime.made = ()
    assert runtime_locks(runtime)


def runtime_locks(runtime: Runtime) -> bool:
    """Say whether somebody else can lock the container."""
    other = runtime.container("c")
    other.hold()
    free = other.locked()
    other.forget()
    return free
