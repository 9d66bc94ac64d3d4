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

    from runjail.host.base import OomWatch
    from runjail.protobuf import Message

# States of a process, each after the one before it; a failing creation ends at once, a failing start is CREATED again.
ADDED, CREATING, CREATED, STARTING, RUNNING, EXITED = range(6)
MAY_LIVE, BEING_KILLED, GONE = range(3)  # a container's processes other than its init, once that has ended
UNDER_WAY = {CREATING: "create", STARTING: "start"}


class Process:
    """One process that containerd knows: a container's init, or one that `exec` started.

    exec_id: "" for init. state: one of the above; EXITED once its end is known to containerd. exit: exit status and
    time in nanoseconds, None while it lives. deleting: `Delete` is under way. pid: 0 before there is a process. copier:
    pid of the process that writes its output, 0 for none. master: of its terminal, -1 without one; size: what it is to
    begin with. waiting: to be called when it is EXITED, each with whether it is still wanted; queue: to be called when
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
        self.state = ADDED
        self.exit: tuple[int, int] | None = None
        self.deleting = False
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

    def enter(self, state: int) -> None:
        """Go into a state, and on with what has waited for the end of what was under way."""
        self.state = state
        if state not in UNDER_WAY:
            waiting, self.queue = self.queue, []
            for call in waiting:
                call()

    def require_idle(self, doing: str) -> None:
        """Raise WrongStatus when something is under way with it."""
        under_way = "delete" if self.deleting else UNDER_WAY.get(self.state)
        if under_way:
            raise WrongStatus(f"cannot {doing} {self.name}: {under_way} is under way")

    @property
    def name(self) -> str:
        """What error texts call it."""
        return f"process {self.exec_id} of {self.id}" if self.exec_id else f"container {self.id}"

    def end(self, status: int) -> None:
        """Note that it has ended, now."""
        self.exit = status, time.time_ns()

    def ending(self) -> Message:
        """Return exit_status and exited_at; zeros while it lives."""
        if not self.exit:
            return {"exit_status": 0, "exited_at": None}
        return {"exit_status": self.exit[0], "exited_at": timestamp(self.exit[1])}


class Task(Process):
    """A container: its init, and the others.

    root: state directory. others: whether somebody may outlive init. ooms: counts processes killed for want of memory,
    where that is known; reported_ooms: how many of them containerd knows. made: which container of the id it is
    (Container.identity).
    """

    def __init__(self, request: Message, root: str, namespace: str) -> None:
        super().__init__(request)
        self.bundle: str = request["bundle"]
        self.root = root
        self._namespace = namespace
        self.execs: dict[str, Process] = {}
        self.others = MAY_LIVE
        self.made: list[int | str] = []
        self.ooms: OomWatch | None = None
        self.reported_ooms = 0

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
