"""exec: one more process in a running container."""

import os

from runjail import log, signals
from runjail.errors import HostError, UsageError, WrongStatus
from runjail.files import require_replaceable
from runjail.host.base import seal_imports
from runjail.lifecycle import console, program
from runjail.lifecycle.files import write_pid
from runjail.lifecycle.link import Link, pair, rebuilt
from runjail.lifecycle.state import stored_process
from runjail.lifecycle.status import status
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

    from runjail.host.base import Host
    from runjail.lifecycle.state import Container, Store
    from runjail.spec.model import Process

REFUSALS = {
    "creating": "cannot exec in a container that is still being created",
    "paused": "cannot exec in a paused container (use --ignore-paused to override)",
    "stopped": "cannot exec in a stopped container",
}


class Request(Record):
    """What `exec` was asked for; paths are absolute, preserve and listen as in create."""

    id: str
    process: "Process"
    pid_file: str = ""
    console_socket: str = ""
    preserve: int = 0
    listen: int = 0
    ignore_paused: bool = False


def execute(
    request: Request,
    host: "Host",
    store: "Store",
    terminal: "_socket.socket | None" = None,
    before: "Callable[[int], None]" = lambda pid: None,
) -> int:
    """Start the process and return its pid once it runs the program; it is our child until we exit.

    terminal: a connected socket for the terminal's master, instead of request.console_socket. before: called with
    the pid when the terminal was sent and the program does not run yet.
    """
    container = _find(request, host, store)
    if request.pid_file:
        require_replaceable(request.pid_file)
    log.debug(f"container {container.id}: exec {request.process.args!r}")
    terminal = _connect(request, terminal)
    request = request.replace(process=_complete(request.process, container, host))
    link, theirs = pair()
    signals.hold()
    pid = host.fork_inside(container.box)
    if not pid:
        link.close()
        _child(request, container, host, theirs, terminal)
    theirs.close()
    if terminal:
        terminal.close()
    try:
        signals.release()
        if request.process.oom_score_adj is not None:
            host.set_oom_score(pid, request.process.oom_score_adj)
        _see_off(request, container, pid, link, before)
    except BaseException:
        link.close()  # the child ends at end-of-file
        os.waitpid(pid, 0)
        raise
    return pid


def become(request: Request, host: "Host", store: "Store") -> "NoReturn":
    """Be the process instead of starting it, for callers who wait for our own pid. Where entering needs no fork.

    The caller has loaded what host.enter needs. Raises as long as the program does not run, also from inside.
    """
    container = _find(request, host, store)
    request = request.replace(process=_complete(request.process, container, host))
    try:
        os.setsid()
    except PermissionError:  # our caller gave us a process group of our own; that does, but for a terminal
        pass
    path, env = _enter(request, container, host, [], _connect(request, None))
    program.reset_signals()
    program.execute(path, request.process, env)
    raise HostError("execve has returned")


def _find(request: Request, host: "Host", store: "Store") -> "Container":
    """Return the container, if it takes new processes now."""
    container = store.find(request.id)
    now = status(container, host)
    if now in REFUSALS and not (now == "paused" and request.ignore_paused):
        raise WrongStatus(REFUSALS[now])
    return container


def _complete(process: "Process", container: "Container", host: "Host") -> "Process":
    """Give a process that does not name its capabilities or oomScoreAdj the container's own, as runc does."""
    if process.capabilities is not None and process.oom_score_adj is not None:
        return process
    own = stored_process(container, host.os)
    capabilities = own.capabilities if process.capabilities is None else process.capabilities
    score = own.oom_score_adj if process.oom_score_adj is None else process.oom_score_adj
    return process.replace(capabilities=capabilities, oom_score_adj=score)


def _connect(request: Request, terminal: "_socket.socket | None") -> "_socket.socket | None":
    """Return where the terminal goes, None without one."""
    if request.process.terminal and not (request.console_socket or terminal):
        raise UsageError("cannot allocate a terminal for a detached process: --console-socket is missing")
    if request.console_socket and not request.process.terminal:
        raise UsageError("--console-socket is of no use: the process has no terminal")
    return console.connect(request.console_socket) if request.console_socket else terminal


def _see_off(request: Request, container: "Container", pid: int, link: Link, before: "Callable[[int], None]") -> None:
    """Let the child go on once its pid is written down, and wait until execve has closed its end."""
    try:
        link.say(go=True)
        link.expect("ready")
        before(pid)
        if request.pid_file:
            write_pid(container, request.pid_file, pid)
        signals.hold()  # from here on it runs
        link.say(exec=True)
        link.expect("exec")
        failure = link.receive()
        if failure:
            raise rebuilt(failure)
    except BaseException:
        _remove_pid_file(request.pid_file)
        raise
    link.close()


def _remove_pid_file(path: str) -> None:
    """Remove it, even an old one: to conmon a pid file means success, whatever our exit code."""
    try:
        os.unlink(path)
    except OSError:  # there is none
        pass


def _child(
    request: Request, container: "Container", host: "Host", link: Link, terminal: "_socket.socket | None"
) -> None:
    try:
        link.expect("go")
        _become(request, container, host, link, terminal)
    except BaseException as error:
        link.report(error)
        os._exit(program.exit_code(error))
    os._exit(1)


def _become(
    request: Request, container: "Container", host: "Host", link: Link, terminal: "_socket.socket | None"
) -> None:
    """Enter the container and execve. Returns only by raising."""
    os.setsid()
    path, env = _enter(request, container, host, [link.fileno()], terminal)
    link.say(ready=True)
    link.expect("exec")
    program.reset_signals()
    link.say(exec=True)
    program.execute(path, request.process, env)


def _enter(
    request: Request, container: "Container", host: "Host", keep: list[int], terminal: "_socket.socket | None"
) -> tuple[str, dict[bytes, bytes]]:
    """Enter the container and take on the identity. Returns the program's path and its environment."""
    process = request.process
    master, slave = host.open_console(process, container.box) if terminal else (-1, -1)
    keep += range(3, 3 + request.preserve)
    if terminal:
        keep += [terminal.fileno(), master, slave]
    seal_imports()
    host.enter(container.box, keep)
    if terminal:
        console.send(terminal, master)
        program.take_terminal(slave)
    program.settle(process, make_cwd=False)
    program.take_on(process, host.become)
    return program.find(process), program.environment(process, request.listen)
