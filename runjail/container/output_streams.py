"""Where a detached container's output comes from and input goes to: FIFOs, or its terminal."""

from __future__ import annotations

import os

from runjail.container.attached import INPUT_FIFO, SOCKET, listen
from runjail.container.output_log import STREAMS
from runjail.host.base import use_dev_null

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from runjail.container.container import Container

    # (terminal's socket or None, what is called once the directory is there)
    Create = Callable[[_socket.socket | None, Callable[[Container], None]], Container]


def with_streams(
    create: Create, terminal: bool, kept: bool, interactive: bool = False
) -> tuple[Container, dict[str, int]]:
    """Call what makes a container and return that, and our ends of its output and input, by name.

    terminal: whether its output is a terminal; kept: whether anybody wants it; interactive: whether somebody may type
    who attaches (container/attached.py). Our own standard files become /dev/null.
    """
    if terminal:
        return _with_terminal(create)
    streams: dict[str, int] = {}
    container = create(None, lambda made: streams.update(_inherit(made, kept, interactive)))
    return container, streams


def _with_terminal(create: Create) -> tuple[Container, dict[str, int]]:
    import _socket

    from runjail.container import console

    local, remote = _socket.socketpair()
    container = create(remote, lambda _made: None)
    master = console.receive(local)
    local.close()
    return container, {"stdout": master, SOCKET: listen(container)}


def _inherit(container: Container, kept: bool, interactive: bool) -> dict[str, int]:
    """Make our output what init is to inherit: FIFOs, which may be there already. Returns the other ends."""
    use_dev_null()
    streams = {}
    for number, name in enumerate(STREAMS if kept else (), 1):
        try:
            os.mkfifo(f"{container.path}/{name}", 0o600)
        except FileExistsError:
            pass
        file = container.open(name, os.O_RDWR | os.O_NONBLOCK)
        streams[name] = container.open(name, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(file, True)
        os.dup2(file, number)
        os.close(file)
    if kept:
        streams[SOCKET] = listen(container)
    if kept and interactive:
        streams[INPUT_FIFO] = _input(container)
    return streams


def _input(container: Container) -> int:
    """Make our standard input what init is to inherit: a FIFO that has its end when we close our end, or die."""
    try:
        os.mkfifo(f"{container.path}/{INPUT_FIFO}", 0o600)
    except FileExistsError:
        pass
    file = container.open(INPUT_FIFO, os.O_RDONLY | os.O_NONBLOCK)
    ours = container.open(INPUT_FIFO, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(file, True)
    os.dup2(file, 0)
    os.close(file)
    return ours
