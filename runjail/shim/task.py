"""Processes of containers as the shim remembers them."""

from __future__ import annotations

import os
import time

from runjail import protobuf
from runjail.errors import WrongStatus
from runjail.shim import messages
from runjail.shim.events import timestamp
from runjail.shim.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.protobuf import Message

CREATED, RUNNING, STOPPED, PAUSED = 1, 2, 3, 4  # containerd.v1.types.Status


class Process:
    """One process that containerd knows: a container's init, or one that `exec` started.

    exec_id: "" for init. pid: 0 before it runs. operation: what is under way, "" for nothing. ended: exit status and
    time in nanoseconds, None while it lives. exit_published: the exit event was published. copier: pid of the process
    that writes its output, 0 for none. master: of its terminal, -1 without one; size: what it is to begin with.
    waiting: to be called when its end was published, each with whether it is still wanted; queue: to be called when
    nothing is under way any more.
    """

    def __init__(self, request: Message, task: Task | None = None, document: bytes = b"") -> None:
        self.request = request
        self.id: str = request["id"]
        self.exec_id: str = request.get("exec_id", "")
        self.terminal: bool = request["terminal"]
        self.stdin: str = request["stdin"]
        self.stdout: str = request["stdout"]
        self.stderr: str = request["stderr"]
        self.document = document
        self._task = task
        self.stdio: Stdio | None = None
        self.pid = self.copier = 0
        self.master = -1
        self.size: tuple[int, int] | None = None
        self.operation = ""
        self.running = False
        self.ended: tuple[int, int] | None = None
        self.exit_published = False
        self.waiting: list[tuple[Callable[[], None], Callable[[], bool]]] = []
        self.queue: list[Callable[[], None]] = []

    @property
    def task(self) -> Task:
        """The container that the process belongs to."""
        assert self._task
        return self._task

    @property
    def namespace(self) -> str:
        """The namespace of containerd's."""
        return self.task.namespace

    def open(self) -> None:
        """Open its standard input, output and error."""
        self.stdio = Stdio(self.stdin, self.stdout, self.stderr, self.terminal)

    def close(self) -> None:
        """Close what is open for it."""
        if self.stdio:
            self.stdio.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def free(self) -> None:
        """End what was under way, and go on with what has waited for that."""
        self.operation = ""
        waiting, self.queue = self.queue, []
        for call in waiting:
            call()

    def claim(self, doing: str) -> None:
        """Mark the process as being worked on. Raises WrongStatus when it is already."""
        if self.operation:
            raise WrongStatus(f"cannot {doing} {self.name}: {self.operation} is under way")
        self.operation = doing

    @property
    def name(self) -> str:
        """What error texts call it."""
        return f"process {self.exec_id} of {self.id}" if self.exec_id else f"container {self.id}"

    def end(self, status: int) -> None:
        """Note that it has ended, now."""
        self.ended = status, time.time_ns()

    def ending(self) -> Message:
        """Return exit_status and exited_at; zeros while it lives."""
        if not self.ended:
            return {"exit_status": 0, "exited_at": None}
        return {"exit_status": self.ended[0], "exited_at": timestamp(self.ended[1])}


class Task(Process):
    """A container: its init, and the others.

    root: state directory. private: it has process numbers of its own, which end with its init. ooms: how many of its
    processes are known to have been killed for want of memory. made: which container of the id it is (state.identity).
    """

    def __init__(self, request: Message, root: str, namespace: str) -> None:
        super().__init__(request)
        self.bundle: str = request["bundle"]
        self.root = root
        self._namespace = namespace
        self.execs: dict[str, Process] = {}
        self.private = False
        self.made: list[int | str] = []
        self.ooms = 0
        self.killing_all = self.cleaned = False  # nobody is left who could outlive init

    @property
    def task(self) -> Task:
        """Itself."""
        return self

    @property
    def namespace(self) -> str:
        """The namespace of containerd's."""
        return self._namespace

    def processes(self) -> list[Process]:
        """Return init and the others."""
        return [self, *self.execs.values()]

    def details(self, pid: int) -> Message:
        """Return what `Pids` says of a process: its number, and its exec id where it has one."""
        for process in self.execs.values():
            if process.pid == pid:
                value = protobuf.encode(messages.PROCESS_DETAILS, {"exec_id": process.exec_id})
                return {"pid": pid, "info": {"type_url": "containerd.runc.v1.ProcessDetails", "value": value}}
        return {"pid": pid}
