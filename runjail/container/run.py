"""run: create, start, and in the foreground wait and clean up."""

from __future__ import annotations

from runjail import signals
from runjail.container.create import Request, create
from runjail.container.delete import delete_made
from runjail.container.start import start_made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.state import Container, Runtime
    from runjail.host.base import Host


def run(
    request: Request, document: object, host: Host, runtime: Runtime, *, detach: bool, keep: bool, ours: bool
) -> int:
    """Run a bundle whose config.json is `document`. Returns the program's exit status, 0 when detached.

    In the foreground the container is deleted when its program ends, unless `keep`. ours: the program's terminal is
    shown on ours. Started and deleted is the container that was made here, and no other that has its id by then.
    """
    if detach:
        return _started(create(request, host, runtime, document=document), host)
    from runjail.container import foreground

    terminal = foreground.Terminal() if ours else None
    container = create(request, host, runtime, terminal.theirs if terminal else None, document)
    pid = container.host_state.pid
    try:
        signals.release()
        if terminal:
            terminal.show()
        _started(container, host)
        foreground.forward_signals(pid)
        return terminal.relay(pid) if terminal else foreground.wait(pid)
    finally:
        signals.ignore()  # whom they were sent on to is gone, and its number may be another's
        if not keep:
            delete_made(container, True, host)


def _started(container: Container, host: Host) -> int:
    try:
        signals.release()
        start_made(container, host)
    except BaseException:
        delete_made(container, True, host)
        raise
    return 0
