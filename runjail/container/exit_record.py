"""How init ended, for `wait`: ROOT/ID/exit, {"code", "finished"}, written by who was init's parent.

"error" is there, too, where a container could not be made again (container/remake.py).
"""

from __future__ import annotations

import time
from typing import Any

from runjail import jsonio, log
from runjail.container.container import Container
from runjail.errors import ContainerNotFound, RunjailError

EXIT = "exit"


def record_exit(container: Container, code: int, why: str = "") -> None:
    """Write down how init ended, for `wait`; a container that was deleted meanwhile needs no such record."""
    facts: dict[str, Any] = {"code": code, "finished": log.timestamp(time.time_ns())} | ({"error": why} if why else {})
    try:
        with container:
            container.write(EXIT, jsonio.dumps(facts).encode())
    except (ContainerNotFound, OSError):
        pass
    except RunjailError as error:
        log.warning(str(error))


def read_facts(container: Container, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of a container, nothing where there is none."""
    try:
        found = jsonio.loads(container.read(name))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def exit_facts(container: Container) -> dict[str, Any]:
    """Return what was written down, nothing when nobody did."""
    return read_facts(container, EXIT)


def recorded_exit(container: Container) -> int | None:
    """Return how init ended, None when that is not known."""
    code = exit_facts(container).get("code")
    return code if isinstance(code, int) else None
