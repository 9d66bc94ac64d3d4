"""run: create, start, and in the foreground wait and clean up."""

from runjail.lifecycle.create import Request, create
from runjail.lifecycle.delete import delete
from runjail.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Host
    from runjail.lifecycle.state import Store


def run(
    request: Request, document: object, host: "Host", store: "Store", *, detach: bool, keep: bool, ours: bool
) -> int:
    """Run a bundle whose config.json is `document`. Returns the program's exit status, 0 when detached.

    In the foreground the container is deleted when its program ends, unless `keep`. ours: the program's terminal is
    shown on ours.
    """
    if detach or not ours:
        container = create(request, host, store, document=document)
        return (
            _started(container.id, host, store)
            if detach
            else _waited(container.id, container.box.pid, keep, host, store)
        )
    from runjail.lifecycle.foreground import Terminal

    terminal = Terminal()
    container = create(request, host, store, terminal.theirs, document)
    try:
        terminal.show()
        _started(container.id, host, store)
        return terminal.relay(container.box.pid)
    finally:
        if not keep:
            delete(container.id, True, host, store)


def _started(container_id: str, host: "Host", store: "Store") -> int:
    try:
        start(container_id, host, store)
    except BaseException:
        delete(container_id, True, host, store)
        raise
    return 0


def _waited(container_id: str, pid: int, keep: bool, host: "Host", store: "Store") -> int:
    from runjail.lifecycle.foreground import wait

    _started(container_id, host, store)
    try:
        return wait(pid)
    finally:
        if not keep:
            delete(container_id, True, host, store)
