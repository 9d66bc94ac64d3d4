"""Create, start, exec and delete, as containerd asks for them."""

from __future__ import annotations

from runjail import errors
from runjail.shim import jobs
from runjail.shim.root import state_root
from runjail.shim.task import Process, Task
from runjail.shim.ttrpc import EXISTS, UNIMPLEMENTED, StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.errors import RunjailError
    from runjail.protobuf import Message
    from runjail.shim.exits import ExitQueue
    from runjail.shim.reply import Reply

NEVER_STARTED = 126  # exit status of a process that could not be started


class TaskLifecycle:
    """The requests that begin and end processes."""

    def __init__(self, containers: ExitQueue, namespace: str) -> None:
        self._containers, self._namespace = containers, namespace
        self._engine, self._events = containers.engine, containers.events

    def create(self, request: Message, reply: Reply) -> None:
        """Make a container whose init waits."""
        tasks = self._containers.tasks
        if request["id"] in tasks:
            raise errors.ContainerExists(request["id"])
        if request["checkpoint"]:
            raise StatusError(UNIMPLEMENTED, "restoring a checkpoint is not supported")
        bundle = request["bundle"]
        if not bundle.startswith("/") or ".." in bundle.split("/"):
            raise errors.UsageError(f"the bundle must be an absolute path, not {bundle[:80]!a}")
        root = state_root(bundle, self._namespace, request["options"])
        task = Task(request, root, self._namespace)
        task.open()
        task.claim("create")
        tasks[task.id] = task
        self._containers.joined.pop(task.id, None)

        def created(error: RunjailError | None, result: Message) -> None:
            if tasks.get(task.id) is not task:
                error = error or errors.ContainerNotFound(task.id)  # `delete` took it from us
            if error:
                self._containers.forget(task)
                reply.refuse(error, "create")
            else:
                task.private, task.made = result["private"], result["made"]
                self._publish_create(task, request)
                reply.respond(pid=task.pid)
            task.free()

        self._containers.launch(
            task, lambda worker: jobs.create(self._engine, task, request["rootfs"], worker), created
        )

    def _publish_create(self, task: Task, request: Message) -> None:
        io = {name: request[name] for name in ("stdin", "stdout", "stderr", "terminal")}
        event = {"container_id": task.id, "bundle": task.bundle, "rootfs": request["rootfs"], "io": io, "pid": task.pid}
        self._events.publish("/tasks/create", event)

    def start(self, request: Message, reply: Reply) -> None:
        """Let a created process become its program."""
        process = self._containers.find(request)
        if process.running or process.ended:
            raise errors.WrongStatus(f"cannot start {process.name}: it was started already")
        process.claim("start")
        if process.exec_id:
            self._start_exec(process, reply)
        else:
            self._start_init(process.task, reply)

    def _start_init(self, task: Task, reply: Reply) -> None:
        def started(error: RunjailError | None, _result: Message) -> None:
            if error:
                reply.refuse(error, "start")
            else:
                task.running = True
                self._events.publish("/tasks/start", {"container_id": task.id, "pid": task.pid})
                reply.respond(pid=task.pid)
            task.free()
            self._containers.settle(task)

        self._containers.workers.start(lambda worker: jobs.start(self._engine, task, worker), started)

    def _start_exec(self, process: Process, reply: Reply) -> None:
        def started(error: RunjailError | None, _result: Message) -> None:
            if error:
                process.end(NEVER_STARTED)
                process.close()
                reply.refuse(error, "exec")
                self._containers.wake_waiters(process)
            else:
                process.running = True
                self._publish_exec("started", process, pid=process.pid)
                reply.respond(pid=process.pid)
            process.free()
            self._containers.settle(process.task)

        try:
            process.open()
        except errors.RunjailError:
            process.free()
            raise
        self._containers.launch(process, lambda worker: jobs.execute(self._engine, process, worker), started)

    def _publish_exec(self, what: str, process: Process, **more: int) -> None:
        event = {"container_id": process.id, "exec_id": process.exec_id, **more}
        self._events.publish(f"/tasks/exec-{what}", event)

    def exec(self, request: Message, reply: Reply) -> None:
        """Note one more process for a container; `start` starts it."""
        task = self._containers.created(request)
        if not request["exec_id"] or request["exec_id"] in task.execs:
            raise StatusError(EXISTS, f"exec id {request['exec_id']!r} of container {task.id} is taken")
        if task.ended:
            raise errors.WrongStatus("cannot exec in a stopped container")
        spec = request["spec"]
        process = Process(request, task, spec["value"] if spec else b"")
        task.execs[process.exec_id] = process
        self._publish_exec("added", process)
        reply.respond()

    def delete(self, request: Message, reply: Reply) -> None:
        """Forget a process that has ended; of a container, take everything back."""
        process = self._containers.find(request)
        if process.operation in ("create", "start"):
            process.queue.append(lambda: self._delete_now(request, reply))
            return
        if process.running and not process.ended:
            raise errors.WrongStatus(f"cannot delete {process.name}: it is running")
        process.claim("delete")
        if process.exec_id:
            if not process.pid:  # it was never started: there is no end to wait for
                self._containers.wake_waiters(process)
            self._finish(process, reply)
            return

        def gone(error: RunjailError | None, _result: Message) -> None:
            if error:
                process.free()
                reply.refuse(error, "delete")
            else:
                self._finish(process, reply)

        self._containers.workers.start(lambda worker: jobs.delete(self._engine, process.task, worker), gone)

    def _delete_now(self, request: Message, reply: Reply) -> None:
        """Delete what a request had to wait for."""
        try:
            self.delete(request, reply)
        except (errors.RunjailError, StatusError) as error:
            reply.refuse(error)

    def _finish(self, process: Process, reply: Reply) -> None:
        """Answer once the end was published and the output written."""

        def answer() -> None:
            if process.exec_id:
                process.close()
                process.task.execs.pop(process.exec_id, None)
            else:
                self._containers.forget(process.task)
                event = {"container_id": process.id, "pid": process.pid, **process.ending()}
                self._events.publish("/tasks/delete", event)
            reply.respond(pid=process.pid, **process.ending())

        self._containers.when_ended(process, lambda: self._containers.when_copied(process, answer))
