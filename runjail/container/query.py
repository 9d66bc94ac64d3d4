"""Questions about containers that change nothing: list, ps, events."""

from __future__ import annotations

import os
import time

from runjail import jsonio, log
from runjail.container.container import Container, Runtime
from runjail.container.status import document, status
from runjail.errors import ContainerNotFound, HostError, RunjailError, WrongStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runjail.host.base import Host


def documents(runtime: Runtime) -> list[dict[str, Any]]:
    """Return the state documents of all containers; a damaged one's has the status damaged, and the log says why."""
    jsonio.hasten()
    found = []
    for container_id in runtime.ids():
        try:
            found.append(document(runtime.find(container_id)))
        except ContainerNotFound:  # deleted meanwhile
            continue
        except RunjailError as error:
            log.warning(str(error))
            found.append(_damaged(container_id, runtime))
    return found


def _damaged(container_id: str, runtime: Runtime) -> dict[str, Any]:
    """Return what can be said of a container whose facts cannot be read: its id, and the owner of its directory."""
    try:
        owner = str(os.stat(runtime.container(container_id).path).st_uid)
    except OSError:
        owner = ""
    unknown: dict[str, Any] = dict.fromkeys(("bundle", "rootfs", "created"), "")
    return {
        "ociVersion": "1.3.0",
        "id": container_id,
        "pid": 0,
        "status": "damaged",
        **unknown,
        "owner": owner,
        "annotations": {},
    }


def is_used(host: Host, state: str, bundle: str) -> bool:
    """Say whether the container in a state directory was made of a bundle of this name; a damaged one may have been."""
    container = Container(os.path.basename(state), Runtime(host, os.path.dirname(state)))
    try:
        container.load()
    except ContainerNotFound:
        return False
    except HostError:
        return True
    return os.path.basename(container.state.bundle) == bundle


def owner_name(owner: str) -> str:
    """Return a user id's name, or the id where it has none."""
    import pwd

    try:
        return pwd.getpwuid(int(owner)).pw_name
    except (KeyError, ValueError):
        return owner


def pids(container_id: str, runtime: Runtime) -> list[int]:
    """Return the pids of all processes of a container: none of a stopped one, unless some outlive its first."""
    container = runtime.find(container_id)
    return runtime.host.processes(container.host_state) if container.state.boot_id == runtime.host.boot_id() else []


def process_rows(numbers: list[int]) -> list[tuple[str, ...]]:
    """Return what `ps -ef` shows of each process, a heading first."""
    try:
        import psutil
    except ImportError:
        hint = "runjail ps -f json needs none; runjail check says how to install it"
        raise HostError("the table of processes needs the Python module psutil", hint) from None

    rows: list[tuple[str, ...]] = [("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")]
    for number in numbers:
        try:
            with psutil.Process(number).oneshot():
                rows.append(_row(psutil.Process(number)))
        except psutil.NoSuchProcess:
            continue
    return rows


def _row(process: Any) -> tuple[str, ...]:
    used = process.cpu_times()
    seconds = int(used.user + used.system)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    begun = time.strftime("%H:%M", time.localtime(process.create_time()))
    command = " ".join(process.cmdline()) or f"[{process.name()}]"
    busy = round(100 * (used.user + used.system) / max(time.time() - process.create_time(), 1))
    terminal = (process.terminal() or "?").removeprefix("/dev/")
    who = (owner_name(str(process.uids().real)), str(process.pid), str(process.ppid()))
    return (*who, str(busy), begun, terminal, clock, command)


def events(container_id: str, interval: float, once: bool, runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Yield a stats event now, and then every `interval` seconds until the container stops.

    In between there is an oom event when processes have been killed for want of memory, as runc has it.
    """
    container = runtime.find(container_id)
    if status(container) in ("stopped", "creating"):
        raise WrongStatus(f"container with id {container_id} is not running")
    more, host_state = container.host.shim(), container.host_state
    killed = more.oom_kills(host_state)
    while True:
        yield {"type": "stats", "id": container_id, "data": container.host.usage(container.host_state)}
        if once:
            return
        deadline = time.monotonic() + interval
        while time.monotonic() < deadline:
            time.sleep(min(0.1, interval))
            before, killed = killed, more.oom_kills(host_state)
            if killed > before:
                yield {"type": "oom", "id": container_id}
            if not os.path.exists(container.path) or status(container) == "stopped":
                return
