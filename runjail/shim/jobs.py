"""What workers do: the engine's verbs, with containerd's descriptors and mounts around them."""

from __future__ import annotations

import _socket
import os

from runjail import jsonio, log
from runjail.container import console, query
from runjail.container import create as creating
from runjail.container import delete as deleting
from runjail.container import exec as executing
from runjail.container import kill as killing
from runjail.container import pause as pausing
from runjail.container import start as starting
from runjail.container import update as updating
from runjail.container.container import PAUSED, Runtime
from runjail.errors import InvalidConfig
from runjail.host import programs
from runjail.shim import stdio
from runjail.shim.runtime_options import wants_systemd
from runjail.shim.stdio import Stdio
from runjail.shim.task import Process, Task
from runjail.shim.workers import Worker
from runjail.spec.resources import parse_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.shim.engine import Engine


def open_log(bundle: str) -> None:
    """Log to the container's own FIFO, of which containerd reads the other end; without a reader, nowhere."""
    try:
        log.adopt(os.open(f"{bundle}/log", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        pass


def create(engine: Engine, task: Task, worker: Worker) -> None:
    """Mount the root file system and create the container; undo both when something fails."""
    open_log(task.bundle)
    rootfs, mounts = f"{task.bundle}/rootfs", task.request["rootfs"]
    try:
        os.makedirs(rootfs, exist_ok=True)
        for mount in mounts:
            engine.shim_host.mount(mount["type"], mount["source"], mount["options"], rootfs, mount["target"])
        os.chdir("/")
        _create(engine, task, worker)
    except BaseException:
        if mounts:
            engine.shim_host.unmount(rootfs)
        raise


def _create(engine: Engine, task: Task, worker: Worker) -> None:
    logger = _start_logger(task)
    receiver, sender = _sockets(task)
    request = creating.Request(task.id, task.bundle, systemd=wants_systemd(task.request["options"]))
    container = creating.create(request, engine.store(task.root), sender)
    copier, master = _copy(task.stdio, receiver)
    host_state, host = container.host_state, engine.shim_host
    known = {"private": host.ends_with_init(host_state), "ooms": host.oom_file(host_state)}
    known["made"] = container.identity()
    worker.answer({"pid": host_state.pid, "copier": copier or logger, **known}, master)


def _store(engine: Engine, task: Task) -> Runtime:
    """Return the store in which the task's id is the container that we made, and no other."""
    store = engine.store(task.root)
    store.made = task.made
    return store


def _start_logger(task: Process) -> int:
    if not task.stdio or not task.stdio.logger:
        return 0
    env = {**programs.ENVIRONMENT, "CONTAINER_ID": task.id, "CONTAINER_NAMESPACE": task.namespace}
    return stdio.start_logger(task.stdio.logger, env, programs.start)


def _sockets(process: Process) -> tuple[_socket.socket | None, _socket.socket | None]:
    """Return the socket on which the terminal is to come and the one that sends it, or nothing without a terminal."""
    return _socket.socketpair() if process.terminal else (None, None)


def _copy(streams: Stdio | None, receiver: _socket.socket | None) -> tuple[int, int]:
    """Show the terminal that has come. Returns the pid of the process that copies its output, and the master."""
    if not receiver or not streams:
        return 0, -1
    master = console.receive(receiver)
    return stdio.start_copying(master, *streams.container_fds[:2]), master


def start(engine: Engine, task: Task, worker: Worker) -> None:
    """Let the container's program run."""
    open_log(task.bundle)
    starting.start(task.id, _store(engine, task))
    worker.answer({})


def execute(engine: Engine, process: Process, worker: Worker) -> None:
    """Start one more process."""
    task = process.task
    open_log(task.bundle)
    document = decoded(process.document, "process")
    document["terminal"] = process.terminal
    if process.size:
        document["consoleSize"] = dict(zip(("width", "height"), process.size, strict=True))
    logger = _start_logger(process)
    receiver, sender = _sockets(process)
    shown: list[tuple[int, int]] = []
    request = executing.Request(task.id, executing.read_process(document, engine.host))
    pid = executing.execute(
        request,
        _store(engine, task),
        sender,
        lambda _pid: shown.append(_copy(process.stdio, receiver)),
    )
    copier, master = shown[0]
    worker.answer({"pid": pid, "copier": copier or logger}, master)


def decoded(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that containerd has sent. Raises InvalidConfig."""
    try:
        document = jsonio.loads(data)
    except ValueError as error:
        raise InvalidConfig([str(error)], what) from None
    if not isinstance(document, dict):
        raise InvalidConfig(["must be an object"], what)
    return document


def delete(engine: Engine, task: Task, worker: Worker) -> None:
    """Delete the container, and unmount its root file system."""
    open_log(task.bundle)
    deleting.delete(task.id, True, _store(engine, task))
    if task.request["rootfs"]:
        engine.shim_host.unmount(f"{task.bundle}/rootfs")
    worker.answer({})


def kill(engine: Engine, task: Task, signal: int, everyone: bool, worker: Worker) -> None:
    """Signal init, or every process of the container."""
    open_log(task.bundle)
    killing.kill(task.id, signal, everyone, 0, _store(engine, task))
    worker.answer({})


def end_others(engine: Engine, task: Task, worker: Worker) -> None:
    """Kill what outlives init, a paused container's processes too."""
    container = _store(engine, task).find(task.id)
    if container.has(PAUSED):
        engine.host.thaw(container.host_state)
    engine.host.kill_all(container.host_state, killing.SIGKILL)
    worker.answer({})


def pause(engine: Engine, task: Task, worker: Worker) -> None:
    """Pause the container."""
    open_log(task.bundle)
    pausing.pause(task.id, _store(engine, task))
    worker.answer({})


def resume(engine: Engine, task: Task, worker: Worker) -> None:
    """Resume the container."""
    open_log(task.bundle)
    pausing.resume(task.id, _store(engine, task))
    worker.answer({})


def update(engine: Engine, task: Task, resources: bytes, worker: Worker) -> None:
    """Change the container's limits."""
    open_log(task.bundle)
    wanted = parse_resources(decoded(resources, "resources"))
    updating.update(task.id, wanted, _store(engine, task))
    worker.answer({})


def pids(engine: Engine, task: Task, worker: Worker) -> None:
    """List the container's processes."""
    worker.answer({"pids": query.pids(task.id, _store(engine, task))})


def stats(engine: Engine, task: Task, worker: Worker) -> None:
    """Measure what the container uses."""
    container = _store(engine, task).find(task.id)
    host_state = container.host_state
    worker.answer({"usage": engine.host.usage(host_state), "more": engine.shim_host.more_usage(host_state)})
