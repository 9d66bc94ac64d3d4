"""exec: one more process in a running container."""

from __future__ import annotations

import os

from runjail import log, signals
from runjail.container import joining, program
from runjail.container.container import Container, Runtime
from runjail.container.joining import Joining
from runjail.container.pid_file import write_pid
from runjail.container.status import status
from runjail.container.sync import SyncSocket, error_from_message, pair
from runjail.errors import HostError, UsageError, WrongStatus
from runjail.files import require_replaceable
from runjail.host.base import ANSWER_SECONDS, forbid_imports
from runjail.record import Record
from runjail.spec.model import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

    from runjail.host.base import Groups, Host

REFUSALS = {
    "creating": "cannot exec in a container that is still being created",
    "paused": "cannot exec in a paused container (use --ignore-paused to override)",
    "stopped": "cannot exec in a stopped container",
}
# What a process has from config.json where it does not say otherwise, as with runc; some of it is of the linux section
INHERITED = (
    *(b"apparmorProfile", b"selinuxLabel", b"scheduler", b"ioPriority", b"execCPUAffinity"),
    *(b"personality", b"memoryPolicy"),
)


class Request(Record):
    """What `exec` was asked for; paths are absolute, preserve and listen as in create, groups as in Host.enter."""

    id: str
    process: Process
    pid_file: str = ""
    console_socket: str = ""
    preserve: int = 0
    listen: int = 0
    ignore_paused: bool = False
    groups: Groups = ()
    pidfd_socket: str = ""


def read_process(document: object, host: Host) -> Process:
    """Return the process that a document describes, and tell at level info what has no effect here.

    Raises InvalidConfig. Engines send all that they know each time, and create has warned of the same in config.json.
    """
    from runjail.spec.process import parse_process
    from runjail.target import TARGETS

    process = parse_process(document, host.os)
    if TARGETS[host.os].jails:
        from runjail.spec.unused import unused_of_process

        if unused := unused_of_process(document):
            log.info(f"without effect here: {', '.join(unused)}")
    return process


def execute(
    request: Request,
    runtime: Runtime,
    terminal: _socket.socket | None = None,
    before: Callable[[int], None] = lambda pid: None,
) -> int:
    """Start the process and return its pid once it runs the program; it is our child until we exit.

    It is seen inside only when it is what the program will be: nothing of the host is left to be seen.

    terminal: a connected socket for the terminal's master, instead of request.console_socket. before: called with
    the pid when the terminal was sent and the program does not run yet.
    """
    container = _find(request, runtime)
    if request.pid_file:
        require_replaceable(request.pid_file)
    log.debug(f"container {container.id}: exec {request.process.args!r}")
    terminal = _connect(request, terminal)
    request = request.replace(process=_complete(request.process, container))
    master, slave = container.host.open_console(request.process, container.host_state) if terminal else (-1, -1)
    joined = _fork(request, container, slave)
    try:
        signals.release()
        if terminal:
            from runjail.container import console

            os.close(slave)
            console.send(terminal, master)
        if request.process.oom_score_adj is not None:
            container.host.set_oom_score(joined.pid, request.process.oom_score_adj)
        if first := request.process.exec_cpus[0]:
            container.host.set_cpus(joined.pid, first, "initial")
        joined.link.send(go=True)
        _sync_with_child(request, container, joined, before)
    except BaseException:
        signals.hold()
        joined.end()
        raise
    return joined.pid


def _fork(request: Request, container: Container, slave: int) -> Joining:
    """Fork the process, which waits for us to say go; signals are held from then on. slave: see _child."""
    parent, child = pair()
    signals.hold()
    joined = Joining(container.host.fork_joining(container.host_state), parent, container, "running")
    if not joined.pid:
        parent.close()
        _child(request, container, child, slave)
    child.close()
    return joined


def exec_in_place(request: Request, runtime: Runtime) -> NoReturn:
    """Be the process instead of starting it, for callers who wait for our own pid. Where entering needs no fork.

    The caller has loaded what host.enter needs. Raises as long as the program does not run, also from inside.
    """
    container = _find(request, runtime)
    request = request.replace(process=_complete(request.process, container))
    terminal = _connect(request, None)
    master, slave = container.host.open_console(request.process, container.host_state) if terminal else (-1, -1)
    if terminal:
        from runjail.container import console

        console.send(terminal, master)
    _schedule(request.process, container, os.getpid())  # before we enter: a process inside may not raise its priority
    env = _enter(request, container, [], slave)
    path = program.find(request.process)
    _lead(slave)
    env |= program.listening(request.listen)
    program.reset_signals()
    container.host.restrict_calls()
    program.execute(path, request.process, env)
    raise HostError("execve has returned")


def _find(request: Request, runtime: Runtime) -> Container:
    """Return the container, if it takes new processes now."""
    container = runtime.find(request.id)
    now = status(container)
    if now in REFUSALS and not (now == "paused" and request.ignore_paused):
        raise WrongStatus(REFUSALS[now])
    if now == "created":
        container.host.join_by(container.host_state, lambda: _ask(container))
    return container


def _ask(container: Container) -> dict[str, int]:
    from runjail.container import gate  # which who may trace init does without

    return gate.ask(container)


def _complete(process: Process, container: Container) -> Process:
    """Give a process the container's own capabilities, oomScoreAdj, labels and scheduling where it names none."""
    if not _may_inherit(process, container.config()):
        return process
    own = container.process()
    return process.replace(
        capabilities=own.capabilities if process.capabilities is None else process.capabilities,
        oom_score_adj=own.oom_score_adj if process.oom_score_adj is None else process.oom_score_adj,
        apparmor_profile=process.apparmor_profile or own.apparmor_profile,
        selinux_label=process.selinux_label or own.selinux_label,
        scheduler=process.scheduler or own.scheduler,
        io_priority=process.io_priority or own.io_priority,
        exec_cpus=process.exec_cpus if any(process.exec_cpus) else own.exec_cpus,
        personality=own.personality,
        memory_policy=own.memory_policy,
    )


def _may_inherit(process: Process, config: bytes) -> bool:
    """Say whether a config.json may name what a process lacks: most do not, and parsing one takes as long as a fork."""
    lacking = [b"capabilities"] * (process.capabilities is None) + [b"oomScoreAdj"] * (process.oom_score_adj is None)
    return any(b'"%s"' % name in config for name in (*lacking, *INHERITED))


def _connect(request: Request, terminal: _socket.socket | None) -> _socket.socket | None:
    """Return where the terminal goes, None without one."""
    if request.process.terminal and not (request.console_socket or terminal):
        raise UsageError("cannot allocate a terminal for a detached process: --console-socket is missing")
    if request.console_socket and not request.process.terminal:
        raise UsageError("--console-socket is of no use: the process has no terminal")
    if request.process.terminal:
        from runjail.container import console  # once the process has entered, nothing can be loaded any more

        return console.connect(request.console_socket) if request.console_socket else terminal
    return None


def _sync_with_child(request: Request, container: Container, joined: Joining, before: Callable[[int], None]) -> None:
    """Let the child go on once its pid is written down, and wait until execve has closed its end."""
    link = joined.link
    try:
        joined.expect("ready")
        _schedule(request.process, container, joined.pid)
        before(joined.pid)
        if request.pidfd_socket:
            from runjail.container import pidfd

            pidfd.send(request.pidfd_socket, joined.pid, pidfd.OF_EXEC)
        if request.pid_file:
            write_pid(container.directory(), request.pid_file, joined.pid)
        signals.hold()  # from here on it runs
        link.send(exec=True)
        link.expect("exec", seconds=ANSWER_SECONDS)
        failure = link.receive(ANSWER_SECONDS)
        if failure:
            raise error_from_message(failure)
    except BaseException:
        _remove_pid_file(request.pid_file)
        raise
    link.close()


def _schedule(process: Process, container: Container, pid: int) -> None:
    """Give a process that is inside, and has forked for the last time, its turns at CPUs and disks."""
    if process.is_scheduled():
        container.host.schedule(pid, process)
    if process.exec_cpus[1]:
        container.host.set_cpus(pid, process.exec_cpus[1], "final")


def _remove_pid_file(path: str) -> None:
    """Remove a pid file, one of an earlier exec too: conmon takes its presence for success, whatever our exit code."""
    try:
        os.unlink(path)
    except OSError:  # there is none
        pass


def _child(request: Request, container: Container, link: SyncSocket, slave: int) -> None:
    """Be the process that enters, appears inside and becomes the program. slave: its terminal, -1 without one."""
    try:
        link.expect("go")
        joining.hand_over(container.host, link)
        env = _enter(request, container, [link.fileno()], slave)
        joining.appear(container.host, link)
        path = program.find(request.process)  # only now is there a /proc/self
        _lead(slave)
        env |= program.listening(request.listen)
        link.send(ready=True)
        link.expect("exec")
        program.reset_signals()
        link.send(exec=True)
        container.host.restrict_calls()
        program.execute(path, request.process, env)
    except BaseException as error:
        link.report(error)
        os._exit(program.exit_code(error))
    os._exit(1)


def _enter(request: Request, container: Container, keep: list[int], slave: int) -> dict[bytes, bytes]:
    """Enter the container and take on the identity. Returns the program's environment."""
    process = request.process
    container.host.label_program(process)
    forbid_imports()
    container.host.enter(container.host_state, [*keep, *range(3, 3 + request.preserve), slave], request.groups)
    if slave >= 0:
        from runjail.container import console

        console.use(slave)
    program.settle(process, make_cwd=False)
    program.take_on(process, container.host.apply_credentials)
    return program.environment(process)


def _lead(slave: int) -> None:
    """Lead a session, with the terminal as its own. slave: -1 without one."""
    program.lead()
    if slave >= 0:
        from runjail.container import console

        console.control()
