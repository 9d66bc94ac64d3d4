"""What a container is doing: computed from facts at every question, never stored."""

from __future__ import annotations

from runjail.container.state import GATE, PAUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.state import Container
    from runjail.host.base import Host


def status(container: Container, host: Host) -> str:
    """Return creating, created, running, paused or stopped (runtime-spec, State).

    A reused pid has another start time and a reboot another boot text, so both read as stopped, as does a zombie.
    A creation whose runjail died is stopped too: nothing will ever finish it.
    """
    data = container.data
    if data["boot"] != host.boot_id():
        return "stopped"
    if data["creator"]:
        pid, started = data["creator"]
        return "creating" if host.start_time(pid) == started else "stopped"
    if not alive(container, host):
        return "stopped"
    if container.has(GATE):
        return "created"
    return "paused" if container.has(PAUSED) else "running"


def alive(container: Container, host: Host) -> bool:
    """Say whether init is the process that was started, and no zombie."""
    host_state = container.host_state
    return bool(host_state.pid and host_state.started) and host.start_time(host_state.pid) == host_state.started


def document(container: Container, host: Host, said: str = "") -> dict[str, Any]:
    """Return the state document; `said` overrides the status for hooks, which get what the specification names."""
    data = container.data
    now = said or status(container, host)
    return {
        "ociVersion": data["ociVersion"],
        "id": container.id,
        "pid": 0 if now == "stopped" else container.host_state.pid,
        "status": now,
        "bundle": data["bundle"],
        "rootfs": container.host_state.source,
        "created": data["created"],
        "owner": data["owner"],
        "annotations": data["annotations"],
    }
