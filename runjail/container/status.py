"""What a container is doing: computed from facts at every question, never stored."""

from __future__ import annotations

from runjail.container.container import GATE, PAUSED, Container
from runjail.container.state import ProcessId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def status(container: Container) -> str:
    """Return creating, created, running, paused or stopped (runtime-spec, State).

    A reused pid has another start time, and after a reboot the boot id differs: both read as stopped, as does a zombie.
    A creation whose runjail died is stopped too: nothing will ever finish it.
    """
    state, host = container.state, container.host
    if state.boot_id != host.boot_id():
        return "stopped"
    if state.creator:
        return "creating" if state.creator.lives(host) else "stopped"
    if not alive(container):
        return "stopped"
    if container.has(GATE):
        return "created"
    return "paused" if container.has(PAUSED) else "running"


def alive(container: Container) -> bool:
    """Say whether init is the process that was started, and no zombie."""
    host_state = container.host_state
    return bool(host_state.pid) and ProcessId(host_state.pid, host_state.started).lives(container.host)


def document(container: Container, declared: str = "") -> dict[str, Any]:
    """Return the state document; `declared` overrides the status for hooks, which get what the specification names."""
    state, now = container.state, declared or status(container)
    return {
        "ociVersion": state.oci_version,
        "id": container.id,
        "pid": 0 if now == "stopped" else container.host_state.pid,
        "status": now,
        "bundle": state.bundle,
        "rootfs": container.host_state.source,
        "created": state.created,
        "owner": state.owner,
        "annotations": state.annotations,
    }
