"""run: create, start, and in the foreground wait and clean up."""

from runjail.lifecycle.create import Request, create
from runjail.lifecycle.delete import delete_made
from runjail.lifecycle.start import start_made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Host
    from runjail.lifecycle.state import Container, Store


def run(
    request: Request, document: object, host: "Host", store: "Store", *, detach: bool, keep: bool, ours: bool
) -> int:
    """Run a bundle whose config.json is `document`. Returns the program's exit status, 0 when detached.

    In the foreground the container is deleted when its program ends, unless `keep`. ours: the program's terminal is
    shown on ours. Started and deleted is the container that was made here, and no other that has its id by then.
    """
    if detach:
        return _started(create(request, host, store, document=document), host)
    from runjail.lifecycle import foreground

    foreground.cancel_on_signals()
    terminal = foreground.Terminal() if ours else None
    container = create(request, host, store, terminal.theirs if terminal else None, document)
    pid = container.box.pid
    try:
        if terminal:
            terminal.show(pid)
            _started(container, host)
            return terminal.relay(pid)
        foreground.forward_signals(pid)
        _started(container, host)
        return foreground.wait(pid)
    finally:
        if not keep:
            delete_made(container, True, host)


def _started(container: "Container", host: "Host") -> int:
    try:
        start_made(container, host)
    except BaseException:
        delete_made(container, True, host)
        raise
    return 0
