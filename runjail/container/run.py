"""run: create, start, and in the foreground wait and clean up."""

from __future__ import annotations

from runjail import signals
from runjail.container.container import Container, Runtime
from runjail.container.create import Request, create
from runjail.container.delete import delete_made
from runjail.container.start import start_made
from runjail.target import TARGETS


def run(
    request: Request, document: object, runtime: Runtime, *, detach: bool, keep: bool, attach_terminal: bool
) -> int:
    """Run a bundle whose config.json is `document`. Returns the program's exit status, 0 when detached.

    In the foreground the container is deleted when its program ends, unless `keep`. attach_terminal: the program's
    terminal is shown on the caller's. Started and deleted is the container that was made here, and no other
    that has its id by then.
    """
    if detach:
        return started(create(request, runtime, document=document))
    from runjail.container import foreground

    terminal = None
    if attach_terminal:
        from runjail.container.terminal import Terminal

        terminal = Terminal(TARGETS[runtime.host.os])
    container = create(request, runtime, terminal.remote if terminal else None, document)
    pid = container.host_state.pid
    try:
        signals.release()
        if terminal:
            terminal.show()
        started(container)
        foreground.forward_signals(pid)
        code = terminal.relay(pid) if terminal else foreground.wait(pid)
        if keep:
            from runjail.container.exit_record import record_exit

            record_exit(container, code)
        return code
    finally:
        signals.ignore()  # the process that they were forwarded to is gone, and its pid may be another's
        if not keep:
            delete_made(container, True)


def started(container: Container) -> int:
    """Start a container that was just made; if it cannot be started, nothing is left of it. Returns 0."""
    try:
        signals.release()
        start_made(container)
    except BaseException:
        delete_made(container, True)
        raise
    return 0
