"""start: let a created container's init become the user's program (runtime-spec, Start)."""

from __future__ import annotations

import os

from runjail import signals
from runjail.container.container import GATE, Container, Runtime
from runjail.container.state import ProcessId
from runjail.container.status import document, status
from runjail.container.sync import SyncSocket, error_from_message, patient
from runjail.errors import NoAnswer, NotRunning, RunjailError, WrongStatus
from runjail.host.base import ANSWER_SECONDS, WorkingDirectory, forbid_imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runjail.nri.invoke import PluginChain
    from runjail.spec.model import Hook, Process

SIGKILL = 9
REFUSALS = {
    "creating": "cannot start a container that is still being created",
    "running": "cannot start an already running container",
    "paused": "cannot start an already running container",
    "stopped": "cannot start a container that has stopped",
}


def start(container_id: str, runtime: Runtime) -> None:
    """Start the container that has this id now; see start_made."""
    start_made(runtime.container(container_id))


def start_made(container: Container, undo: Callable[[BaseException], None] | None = None) -> None:
    """Ask the NRI plugins, run the startContainer hooks inside, open the gate, run the poststart hooks.

    A plugin or hook that fails undoes the whole container, or what `undo` undoes. Returns once the program has replaced
    init. Raises ContainerNotFound when the container that the caller made was deleted, whatever has its id by now.
    """
    with container:
        container.load()
        _require_created(container)
        nri, inside = container.runtime.plugins(), container.state.hooks_of("startContainer")
        if nri or inside:
            _claim(container, nri.names() if nri else [])
            with container.unlocked():
                _undo_on_failure(container, lambda: _prepare(container, nri, inside), undo)
            _require_created(container)
        signals.hold()
        try:
            open_gate(container)
        except NoAnswer:  # init has its go-ahead and could run the program later, although `start` has failed: end it
            container.host.kill_all(container.host_state, SIGKILL)
            raise
    listed = container.state.hooks_of("poststart")
    if listed:
        _undo_on_failure(container, lambda: _run_poststart(container, listed), undo)


def _require_created(container: Container) -> None:
    now = status(container)
    if now != "created":
        raise WrongStatus(REFUSALS[now])


def _claim(container: Container, nri: list[str]) -> None:
    """Write down who starts the container, so that its hooks run once, and which plugins `delete` has to tell."""
    state = container.state
    if state.starter and state.starter.lives(container.host):
        raise WrongStatus(REFUSALS["running"])
    state.starter = ProcessId.own(container.host)
    state.nri_plugins = nri
    container.save()


def _undo_on_failure(
    container: Container, hooks_run: Callable[[], None], undo: Callable[[BaseException], None] | None
) -> None:
    try:
        signals.release()
        hooks_run()
        signals.release()  # a signal that came while the child was collected
        signals.hold()
    except (RunjailError, KeyboardInterrupt) as error:
        if undo:
            undo(error)
            raise
        from runjail.container.delete import roll_back

        roll_back(container, error)
        raise


def _prepare(container: Container, plugins: PluginChain | None, inside: tuple[Hook, ...]) -> None:
    """Do what comes before the gate is opened. No lock is held."""
    if plugins:
        from runjail.container import nri

        nri.run(plugins, "create", container)
    if inside:
        _run_inside(container, inside)


def _run_poststart(container: Container, listed: tuple[Hook, ...]) -> None:
    from runjail.container import hooks

    hooks.run("poststart", listed, document(container, "running"), container.state.bundle)


def _run_inside(container: Container, listed: tuple[Hook, ...]) -> None:
    """Run hooks in the container, as whom its program will run: a child enters it, with all that it needs imported."""
    from runjail.container import gate
    from runjail.container.joining import Joining
    from runjail.container.sync import pair

    container.host.join_by(container.host_state, lambda: gate.ask(container))
    state, process = document(container, "created"), container.process()
    parent, child = pair()
    joined = Joining(container.host.fork_joining(container.host_state), parent, container, "created")
    if not joined.pid:
        try:
            parent.close()
            _hook_child(container, listed, state, process, child)
        except BaseException as error:
            child.report(error)
        os._exit(0)
    child.close()
    try:
        if process.oom_score_adj is not None:
            container.host.set_oom_score(joined.pid, process.oom_score_adj)
        parent.send(go=True)
        joined.expect("begun")
        if process.is_scheduled():
            container.host.schedule(joined.pid, process)
            parent.send(scheduled=True)
        limited = all(hook.timeout for hook in listed)  # else they may take as long as they like
        parent.expect("done", seconds=sum(hook.timeout or 0 for hook in listed) + ANSWER_SECONDS if limited else 0)
    finally:
        signals.hold()
        joined.end()


def _hook_child(
    container: Container,
    listed: tuple[Hook, ...],
    state: dict[str, Any],
    process: Process,
    link: SyncSocket,
) -> None:
    """Enter the container, take on its program's identity, and run the hooks in a session without our terminal."""
    from runjail.container import hooks, joining, program

    link.expect("go")
    joining.hand_over(container.host, link)
    container.host.label_program(process)
    forbid_imports()
    container.host.enter(container.host_state, [link.fileno()])
    program.take_on(process, container.host.apply_credentials)
    env = tuple(os.fsdecode(b"%s=%s" % pair) for pair in program.environment(process).items())
    joining.appear(container.host, link)
    program.lead()
    link.send(begun=True)
    if process.is_scheduled():
        link.expect("scheduled")
    container.host.restrict_calls()
    hooks.run("startContainer", tuple(hook.replace(env=hook.env or env) for hook in listed), state)
    link.send(done=True)


def open_gate(container: Container) -> None:
    """Tell init to go on, and wait until it has become the program.

    The gate is removed first: from here on the container cannot be started again, whoever dies. Raises what init
    reports when the program cannot be executed, NoAnswer when init does not run.
    """
    starter = patient(ANSWER_SECONDS)
    try:
        with WorkingDirectory(container.directory()):
            starter.connect(GATE)
            os.unlink(GATE)
    except (ConnectionRefusedError, FileNotFoundError):
        raise WrongStatus(REFUSALS["stopped"]) from None
    except BlockingIOError:
        raise NoAnswer(ANSWER_SECONDS) from None
    link = SyncSocket(starter)
    link.send(go=True)
    try:
        if link.receive(ANSWER_SECONDS) is None:
            raise NotRunning(container.id)
        failure = link.receive(ANSWER_SECONDS)  # end-of-file: execve closed init's end
    finally:
        link.close()
    if failure:
        raise error_from_message(failure)
