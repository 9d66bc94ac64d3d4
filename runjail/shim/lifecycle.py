"""Create, start, exec and delete, as containerd asks for them."""

from __future__ import annotations

from runjail import errors
from runjail.shim import jobs
from runjail.shim.exits import ExitQueue
from runjail.shim.flow import Copied, Exited, Fork, Settled
from runjail.shim.runtime_options import state_root
from runjail.shim.task import (
    ADDED,
    CREATED,
    CREATING,
    EXITED,
    GONE,
    MAY_LIVE,
    RUNNING,
    STARTING,
    UNDER_WAY,
    Process,
    Task,
)
from runjail.shim.ttrpc import EXISTS, NOT_FOUND, UNIMPLEMENTED, StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.protobuf import Message
    from runjail.shim.flow import Flow

NEVER_STARTED = 126  # exit status of a process that could not be started


class TaskLifecycle:
    """The requests that begin and end processes."""

    def __init__(self, containers: ExitQueue, namespace: str) -> None:
        self._containers, self._namespace = containers, namespace
        self._engine, self._events = containers.engine, containers.events

    def create(self, request: Message) -> Flow:
        """Make a container whose init waits."""
        task = self._reserve(request)
        try:
            result = yield Fork(lambda worker: jobs.create(self._engine, task, worker), "create", task)
            if self._containers.tasks.get(task.id) is not task:  # `delete` took it from us
                raise StatusError(NOT_FOUND, f"OCI runtime create failed: {errors.ContainerNotFound(task.id)}")
            task.made = result["made"]
            task.others = GONE if result["private"] else MAY_LIVE
            self._containers.watch_ooms(task, result["ooms"])
        except Exception:
            self._containers.forget(task)
            task.enter(EXITED)
            raise
        self._events.publish("/tasks/create", _created(task))
        task.enter(CREATED)
        return {"pid": task.pid}

    def _reserve(self, request: Message) -> Task:
        """Note a container that is going to be created. Raises what stands against it."""
        tasks, bundle = self._containers.tasks, request["bundle"]
        if request["id"] in tasks:
            raise errors.ContainerExists(request["id"])
        if request["checkpoint"]:
            raise StatusError(UNIMPLEMENTED, "restoring a checkpoint is not supported")
        if not bundle.startswith("/") or ".." in bundle.split("/"):
            raise errors.UsageError(f"the bundle must be an absolute path, not {bundle[:80]!a}")
        task = Task(request, state_root(bundle, self._namespace, request["options"]), self._namespace)
        task.open()
        task.state = CREATING
        tasks[task.id] = task
        self._containers.joined.pop(task.id, None)
        return task

    def start(self, request: Message) -> Flow:
        """Let a created process become its program."""
        process = self._containers.find(request)
        process.require_idle("start")
        if process.exit or process.state == RUNNING:
            raise errors.WrongStatus(f"cannot start {process.name}: it was started already")
        yield from self._start_exec(process) if process.exec_id else self._start_init(process.task)
        return {"pid": process.pid}

    def _start_init(self, task: Task) -> Flow:
        task.state = STARTING
        try:
            yield Fork(lambda worker: jobs.start(self._engine, task, worker), "start")
        except StatusError:  # a process that fails to start is killed: its end is still to come
            self._containers.go_on(task, CREATED)
            raise
        self._events.publish("/tasks/start", {"container_id": task.id, "pid": task.pid})
        self._containers.go_on(task, RUNNING)
        return {}

    def _start_exec(self, process: Process) -> Flow:
        process.open()
        process.state = STARTING
        try:
            yield Fork(lambda worker: jobs.execute(self._engine, process, worker), "exec", process)
        except StatusError:
            process.end(NEVER_STARTED)
            process.close()
            self._containers.wake_waiters(process)
            self._containers.settle(process.task)
            raise
        self._publish_exec("started", process, pid=process.pid)
        self._containers.go_on(process, RUNNING)
        return {}

    def _publish_exec(self, what: str, process: Process, **more: int) -> None:
        event = {"container_id": process.id, "exec_id": process.exec_id, **more}
        self._events.publish(f"/tasks/exec-{what}", event)

    def exec(self, request: Message) -> Message:
        """Note one more process for a container; `start` starts it."""
        task = self._containers.created(request)
        if not request["exec_id"] or request["exec_id"] in task.execs:
            raise StatusError(EXISTS, f"exec id {request['exec_id']!r} of container {task.id} is taken")
        if task.exit:
            raise errors.WrongStatus("cannot exec in a stopped container")
        spec = request["spec"]
        process = Process(request, task, spec["value"] if spec else b"")
        task.execs[process.exec_id] = process
        self._publish_exec("added", process)
        return {}

    def delete(self, request: Message) -> Flow:
        """Forget a process that has ended; of a container, take everything back."""
        process = self._containers.find(request)
        while process.state in UNDER_WAY:
            yield Settled(process)
            process = self._containers.find(request)  # a creation that failed leaves none
        process.require_idle("delete")
        if process.state == RUNNING and not process.exit:
            raise errors.WrongStatus(f"cannot delete {process.name}: it is running")
        yield from self._delete_exec(process) if process.exec_id else self._delete_task(process.task)
        return {"pid": process.pid, **process.ending()}

    def _delete_exec(self, process: Process) -> Flow:
        process.deleting = True
        if process.state == ADDED:  # there is no end to wait for
            self._containers.wake_waiters(process)
        yield Exited(process)
        yield Copied(process)
        process.close()
        process.task.execs.pop(process.exec_id, None)
        return {}

    def _delete_task(self, task: Task) -> Flow:
        task.deleting = True
        try:
            yield Fork(lambda worker: jobs.delete(self._engine, task, worker), "delete")
        except StatusError:
            task.deleting = False
            raise
        yield Exited(task)
        yield Copied(task)
        self._containers.forget(task)
        self._events.publish("/tasks/delete", {"container_id": task.id, "pid": task.pid, **task.ending()})
        return {}


def _created(task: Task) -> Message:
    """Return the event of a container that was created."""
    io = {name: task.request[name] for name in ("stdin", "stdout", "stderr", "terminal")}
    known = {"container_id": task.id, "bundle": task.bundle, "pid": task.pid}
    return {**known, "rootfs": task.request["rootfs"], "io": io}
