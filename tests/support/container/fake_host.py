"""A host of Python and containers on it, for tests of the state directory."""

from typing import Any

from runjail.container.container import Container, Runtime
from runjail.container.reserve import reserve
from runjail.container.state import State
from runjail.errors import HostError
from runjail.host.base import HostState


class FakeHost:
    """A host that only remembers. Each step makes a thing; undoing a note removes it."""

    os = "linux"

    def __init__(self) -> None:
        self.things: list[str] = []
        self.undone: list[str] = []
        self.failing: set[str] = set()
        self.crash_before_step = False
        self.alive: dict[int, str] = {}
        self.dying = 0  # for how many questions from now on
        self.killed: list[int] = []
        self.thawed: list[str] = []
        self.frozen: set[str] = set()

    def boot_id(self) -> str:
        return "this boot"

    def start_time(self, pid: int) -> str:
        return self.alive.get(pid, "")

    def is_dying(self, pid: int) -> bool:
        self.dying -= 1
        if not self.dying:
            del self.alive[pid]
        return self.dying >= 0

    def apply(self, step: Any, host_state: HostState, note: Any) -> None:
        note({"undo": "thing", "name": step.path})
        if self.crash_before_step:
            raise HostError("crashed")
        if step.path not in self.things:
            self.things.append(step.path)

    def undo(self, note: dict[str, Any], host_state: HostState) -> None:
        self.undone.append(note["name"])
        if note["name"] in self.failing:
            raise HostError(f"{note['name']} is stuck")
        if note["name"] in self.things:
            self.things.remove(note["name"])

    def kill_all(self, host_state: HostState, signal: int) -> None:
        self.killed.append(host_state.pid)
        if self.frozen <= set(self.thawed):
            self.alive.pop(host_state.pid, None)

    def thaw(self, host_state: HostState) -> None:
        self.thawed.append(host_state.cgroup)


def record(container: Container, **changes: Any) -> None:
    """Write down the state of a container whose creation is done. changes: by their keys in state.json."""
    document = {
        "ociVersion": "1.3.0", "bundle": "/b", "created": "2026-01-01T00:00:00.000000Z", "owner": "0",
        "annotations": {}, "hooks": {}, "boot": "this boot", "creator": None, **changes,
    }  # fmt: skip
    container.state = State.from_document({**document, "box": container.host_state.to_data()})
    container.save()


def made(runtime: Runtime, **changes: Any) -> Container:
    """Return a new container with a state on disk, locked."""
    container = reserve(runtime, "c")
    record(container, **changes)
    return container
