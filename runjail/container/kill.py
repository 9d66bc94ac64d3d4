"""kill: a signal for init, one process of a container, or all of them (runtime-spec, Kill)."""

from __future__ import annotations

from runjail.container.container import RESTART, Container, Runtime
from runjail.container.status import alive, status
from runjail.errors import NotRunning, UsageError

SIGTERM, SIGKILL = 15, 9
ENDING = (2, 3, SIGKILL, SIGTERM)  # SIGINT and SIGQUIT, too


def signal_number(text: str) -> int:
    """Return the number of `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3` on this system. Raises UsageError."""
    import _signal

    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    first = getattr(_signal, f"SIG{name}", None)
    if isinstance(first, int) and name.isalnum() and not plus:
        return first
    from runjail.sizes import read_number

    last = _signal.NSIG - 1
    if name == "RTMIN" and isinstance(first, int):
        number = read_number(offset, last - first)
        number = None if number is None else first + number
    else:
        number = read_number(text, last)
    if number is None:
        raise UsageError(f'unknown signal "{text[:40]}"' if not text.isdecimal() else f"unknown signal {text!a}")
    return number


def kill(container_id: str, signal: int, everyone: bool, pid: int, runtime: Runtime) -> None:
    """Send a signal to init, to one process of the container, or to all of them.

    A stopped container is an error for one signal and success for `everyone`, who are gone already. KILL for init is
    for everyone where the kernel does not end the others with it, as with runc since 1.2. Whoever has a
    program ended does not want to see it again: its monitor does not start it again (container/restart.py).
    """
    container = runtime.find(container_id)
    now = status(container)
    everyone = everyone or (signal == SIGKILL and not pid and _leaves_others(container, now))
    ends = not pid and _ends(container, signal)
    if ends and not alive(container) and _halt_between(container, now):
        container.load()
        if not alive(container):
            return
        now = status(container)  # it was made again just before
    if now == "stopped" and not everyone:
        raise NotRunning(container_id)
    if now == "creating" and not container.host_state.pid:
        raise NotRunning(container_id)
    if now == "paused" and signal == SIGKILL:  # what is frozen does not die
        from runjail.container.pause import thaw

        thaw(container)
    if ends:
        container.halt()
    if everyone:
        if container.state.boot_id == container.host.boot_id():
            container.host.kill_all(container.host_state, signal)
    else:
        _kill_one(container, pid, signal)


def _leaves_others(container: Container, now: str) -> bool:
    """Say whether processes of the container are there that a KILL of init leaves alive: it is for them, too."""
    host, host_state = container.host, container.host_state
    if host_state.namespaces.get("first", 1) or container.state.boot_id != host.boot_id():
        return False  # a jail; or init has number 1 of a pid namespace, which ends with it
    return now != "stopped" or bool(host.processes(host_state))


def _ends(container: Container, signal: int) -> bool:
    """Say whether a signal asks a program to end: one that does so everywhere, or the container's own."""
    if signal in ENDING:
        return True
    named = container.state.annotations.get("org.opencontainers.image.stopSignal")
    try:
        return bool(named) and signal_number(str(named)) == signal
    except UsageError:  # an image may name what this system does not know
        return False


def _halt_between(container: Container, now: str) -> bool:
    """See that a container which has no process, but may be made again, is not. Returns whether that was to be."""
    if not container.has(RESTART):
        return False
    from runjail.container.monitor import is_watched
    from runjail.container.restart import halt_between

    return is_watched(container) and halt_between(container, now)


def _kill_one(container: Container, pid: int, signal: int) -> None:
    host_state = container.host_state
    target = pid or host_state.pid
    if target != host_state.pid and target not in container.host.processes(host_state):
        raise NotRunning(f"{container.id}: it has no process {target}")
    started = container.host.start_time(target) if target != host_state.pid else host_state.started
    if not container.host.kill(host_state, target, started, signal):
        raise NotRunning(container.id)
