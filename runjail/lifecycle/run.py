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
    if detach:
        return _started(create(request, host, store, document=document).id, host, store)
    from runjail.lifecycle import foreground

    foreground.cancel_on_signals()
    terminal = foreground.Terminal() if ours else None
    container = create(request, host, store, terminal.theirs if terminal else None, document)
    pid = container.box.pid
    try:
        if terminal:
            terminal.show(pid)
            _started(container.id, host, store)
            return terminal.relay(pid)
        foreground.forward_signals(pid)
        _started(container.id, host, store)
        return foreground.wait(pid)
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
