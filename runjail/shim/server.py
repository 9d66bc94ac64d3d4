"""A shim that runs: one process for the containers of a pod, or of a whole namespace."""

from __future__ import annotations

import gc
import os
import resource

from runjail import log
from runjail.shim import preload
from runjail.shim.events import Publisher
from runjail.shim.exits import ExitQueue
from runjail.shim.loop import Loop
from runjail.shim.service import TaskService
from runjail.shim.ttrpc import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from runjail.shim.engine import Engine

IDLE_SECONDS = 10.0


def serve(listener: _socket.socket, path: str, engine: Engine, events: str, namespace: str) -> None:
    """Serve until nobody needs us. path: of the socket, which is removed; events: containerd's ttRPC address."""
    engine.shim_host.adopt_orphans()
    loop = Loop()

    def over() -> None:
        """Take the name away first: who finds it finds somebody who answers."""
        if not loop.ending:
            loop.ending = True
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass

    containers = ExitQueue(loop, engine, Publisher(loop, events, namespace))
    service = TaskService(containers, namespace, over)
    containers.workers.files = _raise_descriptors()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2  # the other half is for containers
    loop.on_exit = containers.on_exit
    loop.watch_children()
    ours = (0, os.geteuid())

    def trusted(client: _socket.socket) -> bool:
        return engine.shim_host.peer(client) in ours

    server = Server(loop, listener, service.serve, trusted, most, service.nobody_connected)

    def look() -> None:
        """End when nobody is connected and there is nothing to keep: containerd died before it used us."""
        if service.unused and not server.clients:
            over()
        loop.later(IDLE_SECONDS, look)

    def settle() -> None:
        """Load the rest while the first container is created: that costs 10 ms, and nobody waits for it there."""
        preload.load(engine.host.os, engine.shim_host.modules)
        gc.freeze()

    loop.later(IDLE_SECONDS, look)
    containers.workers.meanwhile = settle
    gc.freeze()  # or each child would copy what its garbage collector looks at
    gc.enable()
    log.debug(f"shim: ready, namespace {namespace}")
    loop.run()


def _raise_descriptors() -> tuple[int, int]:
    """Four descriptors a container: take as many as we may have. Returns the limit as it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before
