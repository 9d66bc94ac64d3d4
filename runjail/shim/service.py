"""The task service: containerd's requests about containers.

It is containerd.task.v2.Task, and v3, which is the same. Nothing here waits: what may take long is done by a worker,
and answered when it is done.
"""

from __future__ import annotations

import os
from _signal import NSIG

from runjail import errors, protobuf
from runjail.container import container as containers
from runjail.shim import jobs, messages
from runjail.shim.exits import ExitQueue
from runjail.shim.flow import Call, Exited, Fork
from runjail.shim.lifecycle import TaskLifecycle
from runjail.shim.metrics import metrics
from runjail.shim.stdio import resize
from runjail.shim.task import EXITED, RUNNING, Process, Task
from runjail.shim.ttrpc import INVALID, NOT_FOUND, UNIMPLEMENTED, StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.protobuf import Message, Table
    from runjail.shim.flow import Flow, Handler
    from runjail.shim.ttrpc import Answer, Refuse

    Method = tuple[Table, Table, Handler]

SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
GROUP = "runjail.shim.Group"  # ours: `start` joins a shim that runs, `delete` leaves it
VERSION = "2"
JOIN_SECONDS = 60.0  # for a `Create` to follow a `start`
FLUSH_SECONDS = 5.0  # for the last events
FLUSH_POLL = 0.01
STATUS = (1, 1, 1, 1, 2, 3)  # containerd.v1.types.Status of each state of a process: CREATED, RUNNING, STOPPED
PAUSED = 4
LARGEST_SIDE = 0xFFFF  # of a terminal (struct winsize)


class TaskService:
    """Serves the containers of one shim. over: called when the shim is to end."""

    def __init__(self, containers: ExitQueue, namespace: str, over: Callable[[], None]) -> None:
        self._containers, self._over = containers, over
        self._engine, self._events = containers.engine, containers.events
        self._joined = containers.joined
        self._joins = 0
        life = TaskLifecycle(containers, namespace)
        task: dict[str, Method] = {
            "Create": (messages.CREATE, messages.PID, life.create),
            "Start": (messages.PROCESS, messages.PID, life.start),
            "Delete": (messages.PROCESS, messages.ENDED, life.delete),
            "Exec": (messages.EXEC, messages.EMPTY, life.exec),
            "State": (messages.PROCESS, messages.STATE, self._state),
            "Wait": (messages.PROCESS, messages.WAITED, self._wait),
            "Pids": (messages.ID, messages.PIDS, self._pids),
            "Stats": (messages.ID, messages.STATS, self._stats),
            "Connect": (messages.ID, messages.CONNECTED, self._connect),
            "Kill": (messages.KILL, messages.EMPTY, self._kill),
            "Pause": (messages.ID, messages.EMPTY, self._pause),
            "Resume": (messages.ID, messages.EMPTY, self._resume),
            "Update": (messages.UPDATE, messages.EMPTY, self._update),
            "ResizePty": (messages.RESIZE, messages.EMPTY, self._resize),
            "CloseIO": (messages.CLOSE_IO, messages.EMPTY, self._close_io),
            "Checkpoint": (messages.ID, messages.EMPTY, self._checkpoint),
            "Shutdown": (messages.SHUTDOWN, messages.EMPTY, self._shutdown),
        }
        group: dict[str, Method] = {
            "Join": (messages.JOIN, messages.PID, self._join),
            "Leave": (messages.JOIN, messages.PID, self._leave),
        }
        self._services = {**dict.fromkeys(SERVICES, task), GROUP: group}

    def serve(
        self,
        service: str,
        method: str,
        payload: bytes,
        answer: Answer,
        refuse: Refuse,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Serve one request (ttrpc.Server)."""
        methods = self._services.get(service, {})
        if method not in methods:
            refuse(StatusError(UNIMPLEMENTED, f"service {service[:80]} method {method[:80]}: not implemented"))
            return
        asked, answered, handler = methods[method]
        try:
            request = protobuf.decode(asked, payload)
        except ValueError as error:
            refuse(StatusError(INVALID, f"malformed {method} request: {error}"))
            return
        Call(self._containers, method, answered, answer, refuse, wanted).serve(handler, request)

    @property
    def unused(self) -> bool:
        """Whether there are no containers, and none are to come."""
        return not (self._containers.tasks or self._joined)

    # -- questions

    def _state(self, request: Message) -> Message:
        process = self._containers.find(request)
        shown = {name: getattr(process, name) for name in ("id", "pid", "stdin", "stdout", "stderr", "terminal")}
        shown |= {"bundle": process.task.bundle, "exec_id": process.exec_id, "status": self._status(process)}
        return shown | (process.ending() if process.state == EXITED else {})

    def _status(self, process: Process) -> int:
        """Return a status; an end that is not published yet is none: others of the container may still live."""
        if process.state == RUNNING and not process.exec_id and self._paused(process.task):
            return PAUSED
        return STATUS[process.state]

    def _paused(self, task: Task) -> bool:
        return self._engine.store(task.root).container(task.id).has(containers.PAUSED)

    def _wait(self, request: Message) -> Flow:
        process = self._containers.find(request)
        yield Exited(process)
        return process.ending()

    def _pids(self, request: Message) -> Flow:
        task = self._containers.task(request)
        if not task.pid:  # only a containerd that has just started asks now, and nobody waits for the creation any more
            raise errors.ContainerNotFound(task.id)
        pids = [task.pid]
        if not task.exit:  # after a restart containerd throws away a container without any process, exit status and all
            pids = (yield Fork(lambda worker: jobs.pids(self._engine, task, worker)))["pids"]
        return {"processes": [task.details(pid) for pid in pids]}

    def _stats(self, request: Message) -> Flow:
        task = self._containers.created(request)
        result = yield Fork(lambda worker: jobs.stats(self._engine, task, worker))
        return {"stats": metrics(result["usage"], result["more"])}

    def _connect(self, request: Message) -> Message:
        task = self._containers.tasks.get(request["id"])
        return {"shim_pid": os.getpid(), "task_pid": task.pid if task else 0, "version": VERSION}

    # -- changes

    def _kill(self, request: Message) -> Flow:
        process, signal = self._containers.find(request), request["signal"]
        if signal >= NSIG:
            raise StatusError(INVALID, f"{process.name}: there is no signal {signal}")
        everyone = request["all"] and not process.exec_id
        if process.exit and not everyone:
            raise StatusError(NOT_FOUND, f"{process.name}: process already finished")
        if not process.pid:
            raise errors.WrongStatus(f"{process.name} does not run yet")
        if process.exec_id:
            os.kill(process.pid, signal)  # our child, uncollected: the number cannot be another's
        else:
            yield Fork(lambda worker: jobs.kill(self._engine, process.task, signal, everyone, worker), "kill")
        return {}

    def _pause(self, request: Message) -> Flow:
        task = self._containers.created(request)
        yield Fork(lambda worker: jobs.pause(self._engine, task, worker), "pause")
        self._events.publish("/tasks/paused", {"container_id": task.id})
        return {}

    def _resume(self, request: Message) -> Flow:
        task = self._containers.created(request)
        yield Fork(lambda worker: jobs.resume(self._engine, task, worker), "resume")
        self._events.publish("/tasks/resumed", {"container_id": task.id})
        return {}

    def _update(self, request: Message) -> Flow:
        task = self._containers.created(request)
        resources = request["resources"]["value"] if request["resources"] else b"{}"
        yield Fork(lambda worker: jobs.update(self._engine, task, resources, worker), "update")
        return {}

    def _resize(self, request: Message) -> Message:
        process, size = self._containers.find(request), (request["width"], request["height"])
        if max(size) > LARGEST_SIDE:
            raise StatusError(INVALID, f"{process.name}: no terminal is {size[0]} by {size[1]}")
        if process.master >= 0:
            resize(process.master, *size)
        elif not process.pid:  # an exec that is still to be started
            process.size = size
        return {}

    def _close_io(self, request: Message) -> Message:
        process = self._containers.find(request)
        if request["stdin"] and process.stdio:
            process.stdio.close_input()
        return {}

    def _checkpoint(self, _request: Message) -> Message:
        raise StatusError(UNIMPLEMENTED, "checkpoints are not supported: a jail cannot be frozen to disk")

    # -- the shim itself

    def _join(self, request: Message) -> Message:
        if self._containers.loop.ending:  # decided in the same turn: whoever asks starts another shim
            return {"pid": 0}
        self._joins += 1
        number = self._joined[request["id"]] = self._joins

        def expire() -> None:
            if self._joined.get(request["id"]) == number:
                del self._joined[request["id"]]

        self._containers.loop.later(JOIN_SECONDS, expire)
        return {"pid": os.getpid()}

    def _leave(self, request: Message) -> Message:
        """Forget a container that `delete` cleans up: containerd calls that only for one that it has given up."""
        self._joined.pop(request["id"], None)
        task = self._containers.tasks.get(request["id"])
        if task:
            self._containers.forget(task)
        self._end_if_unused()
        return {"pid": os.getpid()}

    def _shutdown(self, _request: Message) -> Message:
        self._end_if_unused()
        return {}

    def _end_if_unused(self, waited: float = 0.0) -> None:
        """End when there are no containers and the last event was sent, or containerd does not take it."""
        if not self.unused:
            return
        if self._events.idle or waited >= FLUSH_SECONDS:
            self._over()
        else:
            self._containers.loop.later(FLUSH_POLL, lambda: self._end_if_unused(waited + FLUSH_POLL))
