"""A shim that runs: one process for the containers of a pod, or of a whole namespace."""

from __future__ import annotations

import gc
import os
import resource

from runjail import log, merged
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
UNUSED_SECONDS = 60.0  # for a containerd that is connected to come with a container


def serve(listener: _socket.socket, path: str, engine: Engine, events: str, namespace: str) -> None:
    """Serve until nobody needs us. path: of the socket, which is removed; events: containerd's ttRPC address."""
    engine.shim_host.adopt_orphans()
    _Shim(listener, path, engine, events, namespace).serve()


class _Shim:
    """A shim that serves, and when it ends."""

    def __init__(self, listener: _socket.socket, path: str, engine: Engine, events: str, namespace: str) -> None:
        self._path, self._engine, self._loop = path, engine, Loop()
        self._unused = 0.0  # seconds that we have had nothing to keep
        containers = ExitQueue(self._loop, engine, Publisher(self._loop, events, namespace))
        self._service = TaskService(containers, namespace, self._end)
        containers.workers.files = _raise_descriptors()
        containers.workers.meanwhile = self._load_rest
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2  # the other half is for containers
        self._loop.on_exit = containers.on_exit
        self._loop.watch_children()
        self._server = Server(self._loop, listener, self._service.serve, self._trusts, most)
        self._namespace = namespace

    def serve(self) -> None:
        """Serve until the end."""
        self._loop.later(IDLE_SECONDS, self._look)
        gc.freeze()  # or each child would copy what its garbage collector looks at
        gc.enable()
        log.debug(f"shim: ready, namespace {self._namespace}")
        self._loop.run()

    def _trusts(self, client: _socket.socket) -> bool:
        return self._engine.shim_host.peer(client) in (0, os.geteuid())

    def _look(self) -> None:
        """End when nobody is connected and there is nothing to keep: containerd died before it used us.

        Or when there has been nothing to keep for a minute: the containerd 1.6 that comes next connects, never asks for
        anything, and keeps the bundle until we end.
        """
        self._unused = self._unused + IDLE_SECONDS if self._service.unused else 0.0
        if self._unused > (UNUSED_SECONDS if self._server.clients else 0.0):
            self._end()
        self._loop.later(IDLE_SECONDS, self._look)

    def _end(self) -> None:
        """Remove the socket first, so that nobody connects to a shim that answers no more."""
        if not self._loop.ending:
            self._loop.ending = True
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass

    def _load_rest(self) -> None:
        """Load the rest while the first container is created: nobody waits for it there."""
        merged.load("rest-of-shim")
        preload.load(self._engine.host.os, self._engine.shim_host.modules)
        gc.freeze()


def _raise_descriptors() -> tuple[int, int]:
    """Raise the limit of descriptors: each container takes four. Returns the limit as it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before
