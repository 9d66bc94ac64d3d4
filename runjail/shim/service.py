"""The task service: containerd's requests about containers (containerd.task.v2.Task, and v3, which is the same).

Nothing here waits: what may take long is done by a worker, and answered when it is done. Exits are held back while a
start is under way, so that containerd always hears of the start first.
"""

import os

from runjail import errors, log
from runjail.shim import jobs, messages, stdio, terminal, wire
from runjail.shim import task as tasks
from runjail.shim.metrics import metrics
from runjail.shim.task import Process, Task
from runjail.shim.ttrpc import EXISTS, INVALID, NOT_FOUND, PRECONDITION, UNIMPLEMENTED, UNKNOWN, Failure
from runjail.shim.workers import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.errors import RunjailError
    from runjail.shim.events import Publisher
    from runjail.shim.loop import Loop
    from runjail.shim.machine import Engine
    from runjail.shim.ttrpc import Answer, Refuse
    from runjail.shim.wire import Message, Table
    from runjail.shim.workers import Worker

SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
GROUP = "runjail.shim.Group"  # ours: `start` joins a shim that runs, `delete` leaves it
VERSION = "2"
CODES = (
    (errors.ContainerNotFound, NOT_FOUND),
    (errors.NotRunning, NOT_FOUND),
    (errors.ContainerExists, EXISTS),
    (errors.WrongStatus, PRECONDITION),
    (errors.UsageError, INVALID),
    (errors.InvalidConfig, INVALID),
)
JOIN_SECONDS = 60.0  # for a `Create` to follow a `start`
COPY_SECONDS = 2.0  # for output to be written after the process has ended, to a client that may not read any more
COPY_POLL = 0.01
FLUSH_SECONDS = 5.0  # for the last events
STATES = {"created": tasks.CREATED, "running": tasks.RUNNING, "paused": tasks.PAUSED}


class Reply:
    """How one request is answered."""

    def __init__(self, table: "Table", answer: "Answer", refuse: "Refuse") -> None:
        self._table, self._answer, self._refuse = table, answer, refuse

    def give(self, **message: "Any") -> None:
        """Answer."""
        self._answer(wire.encode(self._table, message))

    def fail(self, error: "RunjailError | Failure", verb: str = "") -> None:
        """Refuse. verb: of the runtime, for errors that people know from other runtimes with these words."""
        if isinstance(error, Failure):
            self._refuse(error)
            return
        code = next((code for kind, code in CODES if isinstance(error, kind)), UNKNOWN)
        self._refuse(Failure(code, (f"OCI runtime {verb} failed: " if verb else "") + str(error)))


class TaskService:
    """All containers of one shim. over: called when the shim is to end."""

    def __init__(
        self, loop: "Loop", engine: "Engine", events: "Publisher", namespace: str, over: "Callable[[], None]"
    ) -> None:
        self._loop, self._engine, self._events = loop, engine, events
        self._namespace, self._over = namespace, over
        self._workers = Workers(loop, engine.machine)
        self._early: dict[int, int] = {}  # exits of processes whose worker has not told us about them
        self.tasks: dict[str, Task] = {}
        self.joined: set[str] = set()  # ids that were promised to us
        self._methods: dict[str, tuple[Table, Table, Callable[[Message, Reply], None]]] = {
            "Create": (messages.CREATE, messages.PID, self._create),
            "Start": (messages.PROCESS, messages.PID, self._start),
            "Delete": (messages.PROCESS, messages.ENDED, self._delete),
            "State": (messages.PROCESS, messages.STATE, self._state),
            "Pids": (messages.ID, messages.PIDS, self._pids),
            "Pause": (messages.ID, messages.EMPTY, self._pause),
            "Resume": (messages.ID, messages.EMPTY, self._resume),
            "Checkpoint": (messages.ID, messages.EMPTY, self._checkpoint),
            "Kill": (messages.KILL, messages.EMPTY, self._kill),
            "Exec": (messages.EXEC, messages.EMPTY, self._exec),
            "ResizePty": (messages.RESIZE, messages.EMPTY, self._resize),
            "CloseIO": (messages.CLOSE_IO, messages.EMPTY, self._close_io),
            "Update": (messages.UPDATE, messages.EMPTY, self._update),
            "Wait": (messages.PROCESS, messages.WAITED, self._wait),
            "Stats": (messages.ID, messages.STATS, self._stats),
            "Connect": (messages.ID, messages.CONNECTED, self._connect),
            "Shutdown": (messages.SHUTDOWN, messages.EMPTY, self._shutdown),
        }
        self._group = {
            "Join": (messages.JOIN, messages.PID, self._join),
            "Leave": (messages.JOIN, messages.EMPTY, self._leave),
        }

    def serve(self, service: str, method: str, payload: bytes, answer: "Answer", refuse: "Refuse") -> None:
        """Serve one request (ttrpc.Server)."""
        methods = self._methods if service in SERVICES else self._group if service == GROUP else {}
        if method not in methods:
            refuse(Failure(UNIMPLEMENTED, f"service {service} method {method}: not implemented"))
            return
        wanted, given, serve = methods[method]
        reply = Reply(given, answer, refuse)
        try:
            serve(wire.decode(wanted, payload), reply)
        except (errors.RunjailError, Failure) as error:
            reply.fail(error)
        except ValueError as error:
            reply.fail(Failure(INVALID, f"malformed {method} request: {error}"))
        except OSError as error:
            reply.fail(Failure(UNKNOWN, f"{method}: {errors.reason(error)}"))

    # -- the life of a container

    def _create(self, request: "Message", reply: Reply) -> None:
        if request["id"] in self.tasks:
            raise errors.ContainerExists(request["id"])
        if request["checkpoint"]:
            raise Failure(UNIMPLEMENTED, "restoring a checkpoint is not supported")
        root = state_root(request["bundle"], self._namespace, request["options"])
        task = Task(request, root, self._namespace)
        task.stdio = stdio.Stdio(task.stdin, task.stdout, task.stderr, task.terminal)
        task.claim("create")
        self.tasks[task.id] = task
        self.joined.discard(task.id)

        def created(error: "RunjailError | None", result: "Message") -> None:
            task.busy = ""
            if error:
                del self.tasks[task.id]
                self._close(task)
                reply.fail(error, "create")
                return
            task.private = result["private"]
            self._publish_create(task, request)
            self._begin(task, result)
            reply.give(pid=task.pid)

        mounts = request["rootfs"]
        self._launch(task, lambda worker: jobs.create(self._engine, task, mounts, worker), created)

    def _publish_create(self, task: Task, request: "Message") -> None:
        self._events.publish(
            "/tasks/create",
            {
                "container_id": task.id,
                "bundle": task.bundle,
                "rootfs": request["rootfs"],
                "io": {name: getattr(task, name) for name in ("stdin", "stdout", "stderr", "terminal")},
                "pid": task.pid,
            },
        )

    def _launch(
        self, process: Process, work: "Callable[[Worker], None]", done: "Callable[[RunjailError | None, Message], None]"
    ) -> None:
        """Start a worker that passes the process its descriptors; with a terminal they are for those who copy it."""
        streams = process.stdio
        assert streams
        standard = () if process.terminal else streams.given

        def finished(error: "RunjailError | None", result: "Message") -> None:
            streams.release()
            if not error:
                process.pid, process.copier, process.master = result["pid"], result["copier"], result["terminal"]
            done(error, result)

        self._workers.start(work, finished, streams.needed(), standard)

    def _begin(self, process: Process, _result: "Message") -> None:
        """Take up an end that came before we knew the process."""
        if process.pid in self._early:
            process.end(self._early.pop(process.pid))
            self._settle(process)

    def _start(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        if process.running or process.ended:
            raise errors.WrongStatus(f"cannot start {process.name}: it was started already")
        process.claim("start")
        if process.exec_id:
            self._start_exec(process, reply)
            return

        def started(error: "RunjailError | None", _result: "Message") -> None:
            process.busy = ""
            if error:
                reply.fail(error, "start")
            else:
                process.running = True
                self._events.publish("/tasks/start", {"container_id": process.id, "pid": process.pid})
                reply.give(pid=process.pid)
            self._settle(process)

        self._workers.start(lambda worker: jobs.start(self._engine, process.task, worker), started)

    def _start_exec(self, process: Process, reply: Reply) -> None:
        def started(error: "RunjailError | None", result: "Message") -> None:
            process.busy = ""
            if error:
                process.end(126)  # what was never started cannot be waited for
                process.reported = True
                self._release(process)
                reply.fail(error, "exec")
            else:
                process.running = True
                self._publish_exec("started", process, pid=process.pid)
                reply.give(pid=process.pid)
                self._begin(process, result)
            self._settle(process.task)

        try:
            process.stdio = stdio.Stdio(process.stdin, process.stdout, process.stderr, process.terminal)
        except errors.RunjailError:
            process.busy = ""
            raise
        self._launch(process, lambda worker: jobs.execute(self._engine, process, worker), started)

    def _publish_exec(self, what: str, process: Process, **more: int) -> None:
        event = {"container_id": process.id, "exec_id": process.exec_id, **more}
        self._events.publish(f"/tasks/exec-{what}", event)

    def _exec(self, request: "Message", reply: Reply) -> None:
        task = self._task(request)
        if not request["exec_id"] or request["exec_id"] in task.execs:
            raise Failure(EXISTS, f"exec id {request['exec_id']!r} of container {task.id} is taken")
        if task.ended:
            raise errors.WrongStatus("cannot exec in a stopped container")
        spec = request["spec"]
        process = Process(request, task, spec["value"] if spec else b"")
        task.execs[process.exec_id] = process
        self._publish_exec("added", process)
        reply.give()

    def _delete(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        if process.running and not process.ended:
            raise errors.WrongStatus(f"cannot delete {process.name}: it is running")
        process.claim("delete")

        def gone(error: "RunjailError | None" = None, _result: "Message | None" = None) -> None:
            process.busy = ""
            if error:
                reply.fail(error, "delete")
                return
            self._when_ended(process, lambda: self._after_copying(process, lambda: self._forget(process, reply)))

        if process.exec_id:
            if not process.pid and not process.ended:
                process.end(0)
                process.reported = True
            gone()
        else:
            self._workers.start(lambda worker: jobs.delete(self._engine, process.task, worker), gone)

    def _when_ended(self, process: Process, call: "Callable[[], None]") -> None:
        if process.ended and process.reported:
            call()
        else:
            process.waiting.append(call)

    def _after_copying(self, process: Process, call: "Callable[[], None]", waited: float = 0.0) -> None:
        """Call once the output is written; who does not read it is waited for no longer than COPY_SECONDS."""
        if process.copier and waited >= COPY_SECONDS:
            try:
                os.kill(process.copier, jobs.SIGKILL)
            except ProcessLookupError:
                pass
            process.copier = 0
        if process.copier:
            self._loop.later(COPY_POLL, lambda: self._after_copying(process, call, waited + COPY_POLL))
        else:
            call()

    def _forget(self, process: Process, reply: Reply) -> None:
        self._close(process)
        if process.exec_id:
            process.task.execs.pop(process.exec_id, None)
        else:
            for other in process.task.execs.values():
                self._close(other)
            self.tasks.pop(process.id, None)
            ended = {"container_id": process.id, "pid": process.pid, **process.ending()}
            self._events.publish("/tasks/delete", ended)
        reply.give(pid=process.pid, **process.ending())

    def _close(self, process: Process) -> None:
        if process.stdio:
            process.stdio.close()
        if process.master >= 0:
            os.close(process.master)
            process.master = -1

    # -- the ends of processes

    def on_exit(self, pid: int, status: int) -> None:
        """Hear of a child that has ended (Loop)."""
        code = os.waitstatus_to_exitcode(status)
        code = code if code >= 0 else 128 - code
        if pid in self._workers.pids:
            self._workers.pids.discard(pid)
            return
        for task in self.tasks.values():
            for process in task.processes():
                if process.pid == pid and not process.ended:
                    process.end(code)
                    self._settle(process)
                    return
                if process.copier == pid:
                    process.copier = 0
                    return
        if self._workers.answering:
            self._early[pid] = code
        else:
            self._early.clear()

    def _settle(self, process: Process) -> None:
        """Publish the end of a process when its turn has come: after its start, init's after all others'."""
        if not process.ended or process.reported or process.busy in ("create", "start"):
            return
        task = process.task
        if process is task:
            if not (task.private or task.cleaned):
                self._end_others(task)
                return
            if any(each.busy == "start" or (each.pid and not each.reported) for each in task.execs.values()):
                return
        process.reported = True
        if process.ended[0] == 128 + jobs.SIGKILL:
            self._publish_oom(task)
        ended = {"container_id": task.id, "id": process.exec_id or task.id, "pid": process.pid, **process.ending()}
        self._events.publish("/tasks/exit", ended)
        waiting, process.waiting = process.waiting, []
        for call in waiting:
            call()
        if process is not task:
            self._settle(task)

    def _end_others(self, task: Task) -> None:
        """Kill who outlives init, and go on when nobody is left."""
        if task.cleaning:
            return
        task.cleaning = True

        def killed(error: "RunjailError | None", _result: "Message") -> None:
            if error and not isinstance(error, errors.ContainerNotFound):
                log.warning(f"container {task.id}: {error}")
            task.cleaned = True
            self._settle(task)

        self._workers.start(lambda worker: jobs.end_others(self._engine, task, worker), killed)

    def _publish_oom(self, task: Task) -> None:
        try:
            count = self._engine.machine.out_of_memory(self._engine.store(task.root).find(task.id).box)
        except (errors.RunjailError, OSError, ValueError):  # deleted meanwhile
            return
        if count > task.ooms:
            task.ooms = count
            self._events.publish("/tasks/oom", {"container_id": task.id})

    # -- questions

    def _find(self, request: "Message") -> Process:
        task = self._task(request)
        if not request["exec_id"]:
            return task
        process = task.execs.get(request["exec_id"])
        if not process:
            raise Failure(NOT_FOUND, f"process {request['exec_id']} of container {task.id} does not exist")
        return process

    def _task(self, request: "Message") -> Task:
        task = self.tasks.get(request["id"])
        if not task:
            raise errors.ContainerNotFound(request["id"])
        return task

    def _created(self, request: "Message") -> Task:
        """Return a container that is there already and not just being created."""
        task = self._task(request)
        if not task.pid:
            raise errors.WrongStatus(f"container {task.id} is still being created")
        return task

    def _state(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        shown = {name: getattr(process, name) for name in ("id", "pid", "stdin", "stdout", "stderr", "terminal")}
        shown |= {"bundle": process.task.bundle, "exec_id": process.exec_id, **process.ending()}
        reply.give(status=self._status(process), **shown)

    def _status(self, process: Process) -> int:
        if process.ended:
            return tasks.STOPPED
        if process.running and not process.exec_id and self._paused(process.task):
            return tasks.PAUSED
        return tasks.RUNNING if process.running else tasks.CREATED

    def _paused(self, task: Task) -> bool:
        return os.path.exists(f"{self._engine.store(task.root).container(task.id).path}/paused")

    def _wait(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        self._when_ended(process, lambda: reply.give(**process.ending()))

    def _pids(self, request: "Message", reply: Reply) -> None:
        task = self._created(request)
        if task.ended:  # after a restart containerd throws away a container without any process, exit status and all
            reply.give(processes=[{"pid": task.pid}])
            return
        self._work(
            lambda worker: jobs.pids(self._engine, task, worker),
            reply,
            lambda result: reply.give(processes=[task.details(pid) for pid in result["pids"]]),
        )

    def _stats(self, request: "Message", reply: Reply) -> None:
        task = self._created(request)
        self._work(
            lambda worker: jobs.stats(self._engine, task, worker),
            reply,
            lambda result: reply.give(stats=metrics(result["usage"])),
        )

    def _work(
        self, work: "Callable[[Worker], None]", reply: Reply, done: "Callable[[Message], None]", verb: str = ""
    ) -> None:
        """Let a worker do it, and answer with its error or by `done`."""

        def finished(error: "RunjailError | None", result: "Message") -> None:
            if error:
                reply.fail(error, verb)
            else:
                done(result)

        self._workers.start(work, finished)

    def _connect(self, request: "Message", reply: Reply) -> None:
        task = self.tasks.get(request["id"])
        reply.give(shim_pid=os.getpid(), task_pid=task.pid if task else 0, version=VERSION)

    # -- changes

    def _kill(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        if process.ended and not (request["all"] and not process.exec_id):
            raise Failure(NOT_FOUND, f"{process.name}: process already finished")
        if not process.pid:
            raise errors.WrongStatus(f"{process.name} does not run yet")
        if process.exec_id:
            os.kill(process.pid, request["signal"])  # our child, uncollected: the number cannot be another's
            reply.give()
            return
        signal = request["signal"]
        if request["all"]:
            work: Callable[[Worker], None] = lambda worker: jobs.kill_all(self._engine, process.task, signal, worker)
        else:
            work = lambda worker: jobs.kill_one(self._engine, process.task, signal, worker)
        self._work(work, reply, lambda _result: reply.give(), "kill")

    def _pause(self, request: "Message", reply: Reply) -> None:
        task = self._created(request)

        def paused(_result: "Message") -> None:
            self._events.publish("/tasks/paused", {"container_id": task.id})
            reply.give()

        self._work(lambda worker: jobs.pause(self._engine, task, worker), reply, paused, "pause")

    def _resume(self, request: "Message", reply: Reply) -> None:
        task = self._created(request)

        def resumed(_result: "Message") -> None:
            self._events.publish("/tasks/resumed", {"container_id": task.id})
            reply.give()

        self._work(lambda worker: jobs.resume(self._engine, task, worker), reply, resumed, "resume")

    def _checkpoint(self, _request: "Message", _reply: Reply) -> None:
        raise Failure(UNIMPLEMENTED, "checkpoints are not supported: a jail cannot be frozen to disk")

    def _update(self, request: "Message", reply: Reply) -> None:
        task = self._created(request)
        resources = request["resources"]["value"] if request["resources"] else b"{}"
        work: Callable[[Worker], None] = lambda worker: jobs.change(self._engine, task, resources, worker)
        self._work(work, reply, lambda _result: reply.give(), "update")

    def _resize(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        if process.master >= 0:
            terminal.resize(process.master, request["width"], request["height"])
        reply.give()

    def _close_io(self, request: "Message", reply: Reply) -> None:
        process = self._find(request)
        if request["stdin"] and process.stdio:
            process.stdio.close_input()
        reply.give()

    # -- the shim itself

    def _join(self, request: "Message", reply: Reply) -> None:
        self.joined.add(request["id"])
        self._loop.later(JOIN_SECONDS, lambda: self.joined.discard(request["id"]))
        reply.give(pid=os.getpid())

    def _leave(self, request: "Message", reply: Reply) -> None:
        """Forget a container that `delete` cleans up: whoever asks knows better than we do that nobody needs it."""
        self.joined.discard(request["id"])
        task = self.tasks.pop(request["id"], None)
        if task:
            for process in task.processes():
                self._close(process)
        reply.give()
        self._end_if_unused()

    def _shutdown(self, _request: "Message", reply: Reply) -> None:
        reply.give()
        self._end_if_unused()

    def _end_if_unused(self, waited: float = 0.0) -> None:
        """End when there are no containers and the last event was sent, or containerd does not take it."""
        if self.tasks or self.joined:
            return
        if self._events.idle or waited >= FLUSH_SECONDS:
            self._over()
        else:
            self._loop.later(COPY_POLL, lambda: self._end_if_unused(waited + COPY_POLL))


def state_root(bundle: str, namespace: str, options: "Message | None" = None) -> str:
    """Return the state directory for a bundle's container: of the runtime's options, else below containerd's own.

    It is written into the bundle where options name it, for the `delete` that comes after us.
    """
    asked = ""
    if options and options["type_url"].endswith("runc.v1.Options"):
        asked = wire.decode(messages.OPTIONS, options["value"])["root"]
    if asked:
        with open(f"{bundle}/{jobs.ROOT_FILE}", "w", encoding="utf-8") as file:
            file.write(asked)
    else:
        try:
            with open(f"{bundle}/{jobs.ROOT_FILE}", encoding="utf-8") as file:
                asked = file.read()
        except OSError:  # STATE/io.containerd.runtime.v2.task/NAMESPACE/ID is where bundles are
            asked = os.path.dirname(os.path.dirname(os.path.dirname(bundle))) + "/runjail"
    return f"{asked}/{namespace}"
