"""The container's init between fork and execve.

It talks to `create` over a link (go, waiting, done, isolated, confine, parked), then waits at the gate for `start`.
Once it is inside the container it runs only code that is loaded already. Its pid is the container's pid from its first
instant.
"""

from __future__ import annotations

import _signal
import _socket
import os

from runjail.container import gate, program
from runjail.container.container import Container
from runjail.container.joining import appear, hand_over
from runjail.container.sync import SyncSocket
from runjail.host.base import forbid_imports
from runjail.record import Record
from runjail.spec.model import Hook, Process
from runjail.steps import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class InitConfig(Record):
    """What init is to become and by whom it is watched.

    terminal: socket to which its terminal's master goes, None without one. preserve: how many descriptors from 3 on
    the program inherits; listen: how many of them are systemd's.
    """

    container: Container
    plan: Plan
    process: Process
    hooks: tuple[Hook, ...]
    link: SyncSocket
    gate: _socket.socket
    terminal: _socket.socket | None
    preserve: int
    listen: int


def run(launch: InitConfig) -> NoReturn:
    """Be init: go in, wait at the gate, become the program. For a forked child."""
    launch.container.forget()
    process, link = launch.process, launch.link
    try:
        handles = _enter(launch)
        env = program.environment(process)
        appear(launch.container.host, link)
        path = program.find(process)  # only now is there a /proc/self
        program.lead()
        if launch.terminal:
            from runjail.container import console

            console.control()
        env |= program.listening(launch.listen)
        _exit_on_signals()
        link.send(parked=True)
    except BaseException as error:  # whatever it is, the creator must hear of it and this process must end here
        link.report(error)
        os._exit(1)
    link.close()
    starter = gate.wait(launch.gate, handles)
    try:
        program.reset_signals()
        starter.send(exec=True)
        launch.container.host.restrict_calls()
        program.execute(path, process, env)
    except BaseException as error:  # for the starter, too, which takes our end for the program's beginning
        starter.report(error)
        os._exit(program.exit_code(error))
    os._exit(1)


def _enter(launch: InitConfig) -> dict[str, int]:
    """Build what is built inside, run the createContainer hooks, confine ourselves, take on the identity.

    Returns what others join us by, as the gate hands it out.
    """
    container, process, link = launch.container, launch.process, launch.link
    host, host_state = container.host, container.host_state
    host_state.cgroup, host_state.devices = link.expect("go")["go"]
    os.setsid()
    _build(launch)
    handles = host.record_namespaces(host_state)  # of ours: an ordinary user cannot look at them once we are confined
    link.send(isolated=host_state.namespaces)
    state = link.expect("confine")["confine"]
    if launch.hooks:
        from runjail.container import hooks

        hooks.run("createContainer", launch.hooks, state, host_state.root)
        link.send(hooked=True)
    keep = [link.fileno(), launch.gate.fileno(), *handles.values(), *range(3, 3 + launch.preserve)]
    master, slave = host.open_console(process, host_state) if launch.terminal else (-1, -1)
    if launch.terminal:
        from runjail.container import console  # nothing can be loaded any more when it is used

        keep += [launch.terminal.fileno(), master, slave]
    hand_over(host, link)
    host.label_program(process)
    forbid_imports()
    host.enter_root(host_state, keep)
    if launch.terminal:
        from runjail.container import console

        console.send(launch.terminal, master)
        console.use(slave)
    program.settle(process, make_cwd=True)
    program.take_on(process, host.apply_credentials)
    return handles


def _build(launch: InitConfig) -> None:
    """Perform the steps inside, and wait where one of our creator's stands between them."""
    host, container = launch.container.host, launch.container
    for step in launch.plan.steps:
        if step.inside:
            host.apply(step, container.host_state, container.note)
        elif step.between:
            launch.link.send(waiting=True)
            launch.link.expect("done")


def _exit_on_signals() -> None:
    """While parked, die of what would kill the program: pid 1 of a namespace ignores signals without a handler."""
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2):
        _signal.signal(number, lambda received, _frame: os._exit(128 + received))
