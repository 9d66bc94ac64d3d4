"""A shim without processes: its workers are played by the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runjail import errors, protobuf
from runjail.container.container import Runtime
from runjail.shim import messages
from runjail.shim.engine import Engine
from runjail.shim.exits import ExitQueue
from runjail.shim.loop import Loop
from runjail.shim.service import TaskService
from runjail.shim.ttrpc import StatusError


class Events:
    """Collects what is published."""

    idle = True

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Note an event, which must fit its table."""
        protobuf.encode(messages.EVENTS[topic][1], event)
        self.said.append((topic.removeprefix("/tasks/"), event))

    @property
    def topics(self) -> list[str]:
        """The topics, in order."""
        return [topic for topic, _event in self.said]


class Workers:
    """Keeps what workers were started for; the test finishes them. said: an answer that has come and was not heard."""

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.started: list[Callable[[errors.RunjailError | None, dict[str, Any]], None]] = []
        self.said: dict[str, Any] = {}

    def start(self, _work: Any, done: Any, _keep: Any = (), _standard: Any = ()) -> None:
        """Note a worker."""
        self.started.append(done)

    def finish(self, error: errors.RunjailError | None = None, **result: Any) -> None:
        """Let the oldest worker answer."""
        self.started.pop(0)(error, result)

    def hear(self) -> None:
        """Take the answer that has come."""
        said, self.said = self.said, {}
        if said:
            self.finish(**said)


class ShimHost:
    """Lets the test decide how a container's memory is watched."""

    watch_ooms: Callable[[str], Any]


class Store:
    """A state directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def container(self, id: str) -> Any:
        """Return something that has files."""
        host: Any = None
        return Runtime(host, str(self.root)).container(id)


class Shim:
    """A task service without processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events, self.workers, self.shim_host = Events(), Workers(), ShimHost()
        host: Any = type("Host", (), {"os": "test"})
        engine = Engine(host, self.shim_host, lambda root: Store(directory), lambda: "pod")  # type: ignore[arg-type, return-value]
        self.containers = ExitQueue(Loop(), engine, self.events)  # type: ignore[arg-type]
        self.containers.workers = self.workers  # type: ignore[assignment]
        self.over = 0
        self.service = TaskService(self.containers, "default", self.end)

    def end(self) -> None:
        """Count how often the shim was to end."""
        self.over += 1

    def ask(self, method: str, service: str = "containerd.task.v2.Task", **request: Any) -> list[Any]:
        """Ask for something. Returns a list that is empty until the answer or the failure comes."""
        wanted, given, _ = self.service._services[service][method]
        answers: list[Any] = []
        payload = protobuf.encode(wanted, {"id": "web", **request} if method != "Shutdown" else request)
        self.service.serve(
            service, method, payload, lambda data: answers.append(protobuf.decode(given, data)), answers.append
        )
        return answers

    def create(self, private: bool = True) -> None:
        """Create the container `web` with pid 100."""
        asked = self.ask("Create", bundle=str(self.directory))
        self.workers.finish(pid=100, copier=0, terminal=-1, private=private, ooms="", made=[1, "then"])
        assert asked == [{"pid": 100}]

    def start(self, private: bool = True) -> None:
        """Create and start it."""
        self.create(private)
        asked = self.ask("Start")
        self.workers.finish()
        assert asked == [{"pid": 100}]

    def exec(self, pid: int, name: str = "more") -> None:
        """Start a process in it."""
        assert self.ask("Exec", exec_id=name) == [{}]
        self.ask("Start", exec_id=name)
        self.workers.finish(pid=pid, copier=0, terminal=-1)


def code(answers: list[Any]) -> int:
    """Return the code of a failure."""
    assert isinstance(answers[0], StatusError), answers
    return answers[0].code
