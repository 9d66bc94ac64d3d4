"""pause and resume: every process of a container stops, and goes on (runc-pause(8))."""

from __future__ import annotations

import os

from runjail.container.container import PAUSED, Container, Runtime
from runjail.container.status import status
from runjail.errors import WrongStatus


def pause(container_id: str, runtime: Runtime) -> None:
    """Stop every process of a running container until `resume`."""
    with runtime.container(container_id) as container:
        _prepare(container, "running", "pause")
        os.close(container.open(PAUSED, os.O_CREAT | os.O_WRONLY))
        container.host.freeze(container.host_state)


def resume(container_id: str, runtime: Runtime) -> None:
    """Let a paused container run again."""
    with runtime.container(container_id) as container:
        _prepare(container, "paused", "resume")
        thaw(container)


def _prepare(container: Container, wanted: str, verb: str) -> None:
    """Load a container that must have this status, also after its plugins were asked."""
    container.load()
    _require(container, wanted, verb)
    if container.state.nri_plugins:
        from runjail.container import nri

        nri.invoke_plugins(verb, container)
        _require(container, wanted, verb)


def _require(container: Container, wanted: str, verb: str) -> None:
    now = status(container)
    if now != wanted:
        raise WrongStatus(f"cannot {verb} a container that is not {wanted}: {now}")


def thaw(container: Container) -> None:
    """Let the processes go on, whatever the container's status."""
    container.host.thaw(container.host_state)
    container.drop(PAUSED)
