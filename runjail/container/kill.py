"""kill, pause, resume: signals for a container's processes (runtime-spec, Kill)."""

from __future__ import annotations

import os

from runjail.container.state import PAUSED
from runjail.container.status import status
from runjail.errors import NotRunning, UsageError, WrongStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.state import Container, Runtime
    from runjail.host.base import Host

SIGTERM, SIGKILL = 15, 9


def signal_number(text: str) -> int:
    """Return the number of `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3` on this system. Raises UsageError."""
    import _signal

    if text.isascii() and text.isdigit() and len(text) < 4:
        if int(text) < _signal.NSIG:
            return int(text)
        raise UsageError(f"unknown signal {text!a}")
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    number = getattr(_signal, f"SIG{name}", None)
    if isinstance(number, int) and name.isalnum() and not plus:
        return number
    if name == "RTMIN" and isinstance(number, int) and offset.isascii() and offset.isdigit() and len(offset) < 4:
        number += int(offset)
        if number < _signal.NSIG:
            return number
    raise UsageError(f'unknown signal "{text[:40]}"')


def kill(container_id: str, signal: int, everyone: bool, pid: int, host: Host, runtime: Runtime) -> None:
    """Send a signal to init, to one process of the container, or to all of them.

    A stopped container is an error for one signal and success for `everyone`, who are gone already.
    """
    container = runtime.find(container_id)
    now = status(container, host)
    if now == "stopped" and not everyone:
        raise NotRunning(container_id)
    if now == "creating" and not container.host_state.pid:
        raise NotRunning(container_id)
    if now == "paused" and signal == SIGKILL:  # what is frozen does not die
        _thaw(container, host)
    if everyone:
        if container.data["boot"] == host.boot_id():
            host.kill_all(container.host_state, signal)
    else:
        _kill_one(container, pid, signal, host)


def _kill_one(container: Container, pid: int, signal: int, host: Host) -> None:
    host_state = container.host_state
    target = pid or host_state.pid
    if target != host_state.pid and target not in host.processes(host_state):
        raise NotRunning(f"{container.id}: it has no process {target}")
    started = host.start_time(target) if target != host_state.pid else host_state.started
    if not host.kill(host_state, target, started, signal):
        raise NotRunning(container.id)


def pause(container_id: str, host: Host, runtime: Runtime) -> None:
    """Stop every process of a running container until `resume`."""
    with runtime.container(container_id) as container:
        container.load()
        _require(container, host, "running", "pause")
        if container.data.get("nri"):
            _ask_plugins(container, host, "pause")
            _require(container, host, "running", "pause")
        os.close(container.open(PAUSED, os.O_CREAT | os.O_WRONLY))
        host.freeze(container.host_state)


def resume(container_id: str, host: Host, runtime: Runtime) -> None:
    """Let a paused container run again."""
    with runtime.container(container_id) as container:
        container.load()
        _require(container, host, "paused", "resume")
        if container.data.get("nri"):
            _ask_plugins(container, host, "resume")
            _require(container, host, "paused", "resume")
        _thaw(container, host)


def _require(container: Container, host: Host, wanted: str, verb: str) -> None:
    now = status(container, host)
    if now != wanted:
        raise WrongStatus(f"cannot {verb} a container that is not {wanted}: {now}")


def _ask_plugins(container: Container, host: Host, state: str) -> None:
    from runjail.container import nri

    nri.invoke_plugins(state, container, host)


def _thaw(container: Container, host: Host) -> None:
    host.thaw(container.host_state)
    container.drop(PAUSED)
