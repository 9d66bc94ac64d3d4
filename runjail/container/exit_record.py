"""How init ended, for `wait`: ROOT/ID/exit, {"code", "finished"}, written by who was init's parent."""

from __future__ import annotations

import time

from runjail import jsonio, log
from runjail.errors import ContainerNotFound, RunjailError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.container import Container

EXIT = "exit"


def record_exit(container: Container, code: int) -> None:
    """Write down how init ended, for `wait`; a container that was deleted meanwhile needs no such record."""
    facts = {"code": code, "finished": log.timestamp(time.time_ns())}
    try:
        with container:
            container.write(EXIT, jsonio.dumps(facts).encode())
    except (ContainerNotFound, OSError):
        pass
    except RunjailError as error:
        log.warning(str(error))


def recorded_exit(container: Container) -> int | None:
    """Return how init ended, None when that is not known."""
    try:
        found = jsonio.loads(container.read(EXIT))
    except (OSError, ValueError):
        return None
    code = found.get("code") if isinstance(found, dict) else None
    return code if isinstance(code, int) else None
