"""Forked children that do what may take long, each for one request.

The shim itself never waits for anything. A worker has the engine loaded already, so it begins at once. It dies with the
shim: what it was doing is on disk then and `delete` takes it back.
"""

from __future__ import annotations

import _socket
import gc
import os
import resource
import select
import struct

from runjail import jsonio, log
from runjail.container.sync import SyncSocket, error_from_message
from runjail.errors import HostError, RunjailError, reason
from runjail.host.base import close_others
from runjail.shim.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from runjail.host.base import ShimHost

    Result = dict[str, Any]
    Done = Callable[["RunjailError | None", Result], None]

RIGHTS = struct.Struct("i")


class Worker:
    """The worker's own side: how it answers."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection
        self.link = SyncSocket(connection)

    def answer(self, result: Result, terminal: int = -1) -> None:
        """Send the result, with the master of a terminal when there is one."""
        if terminal < 0:
            self.link.send(**result)
            return
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, RIGHTS.pack(terminal))]
        self._connection.sendmsg([jsonio.dumps(result).encode() + b"\n"], rights)


class Workers:
    """Starts workers and hands their results on. pids: those that run; files: their limit of descriptors."""

    def __init__(self, loop: Loop, shim_host: ShimHost) -> None:
        self._loop, self._shim_host = loop, shim_host
        self.pids: set[int] = set()
        self.files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.meanwhile: Callable[[], None] | None = None  # is done once, while the first worker works
        self._answering: dict[int, Callable[[], None]] = {}  # workers whose result is still to come, by descriptor

    def start(
        self,
        work: Callable[[Worker], None],
        done: Done,
        keep: Sequence[int] = (),
        standard: Sequence[int] = (),
    ) -> None:
        """Run work(worker) in a child; done(error, result) is called here with what it answers.

        keep: descriptors that it needs; standard: those that become its 0, 1 and 2. A result's "terminal" is a
        descriptor that is the receiver's to close.
        """
        try:
            pid, own, child = _fork()
        except OSError as error:
            done(HostError(f"starting a worker: {reason(error)}"), {})
            return
        if not pid:
            self._work(work, Worker(child), keep, standard)
        child.close()
        self.pids.add(pid)
        self._answering[own.fileno()] = lambda: self._finish(own, done)
        self._loop.watch(own.fileno(), READ, lambda _events: self._finish(own, done))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()

    def hear(self) -> None:
        """Take the answers that have come."""
        poll = select.poll()
        for descriptor in self._answering:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _events in poll.poll(0):
            self._loop.guarded(self._answering[descriptor])

    def _work(
        self, work: Callable[[Worker], None], worker: Worker, keep: Sequence[int], standard: Sequence[int]
    ) -> None:
        """Be a worker. Never returns."""
        try:
            parent = os.getppid()
            self._loop.forget()
            gc.disable()
            self._shim_host.die_with_parent()
            if os.getppid() != parent:  # the shim died before this was in force
                os._exit(1)
            self._shim_host.adopt_orphans()  # what we launch, by whatever ways, is the shim's child only once we ended
            resource.setrlimit(resource.RLIMIT_NOFILE, self.files)
            for number, descriptor in enumerate(standard):
                os.dup2(descriptor, number)
            close_others([worker.link.fileno(), *keep, *log.descriptors()])
            work(worker)
        except BaseException as error:  # whatever it is, the shim must hear of it
            worker.link.report(error)
        finally:
            os._exit(0)

    def _finish(self, connection: _socket.socket, done: Done) -> None:
        self._loop.unwatch(connection.fileno())
        del self._answering[connection.fileno()]
        try:
            message, terminal = _receive(connection)
        finally:
            connection.close()
        if terminal >= 0 and (message is None or "error" in message):
            os.close(terminal)
        if message is None:
            done(HostError("the process that worked on the container was killed"), {})
        elif "error" in message:
            done(error_from_message(message), {})
        else:
            done(None, {**message, "terminal": terminal})


def _fork() -> tuple[int, _socket.socket, _socket.socket]:
    """Fork with a connection. Returns the pid, and the parent's and the child's end. Raises OSError."""
    own, child = _socket.socketpair()
    try:
        return os.fork(), own, child
    except OSError:
        own.close()
        child.close()
        raise


def _receive(connection: _socket.socket) -> tuple[Result | None, int]:
    """Return the one line a worker sends, and the descriptor that comes with it or -1."""
    data, terminal = b"", -1
    while not data.endswith(b"\n"):
        block, ancillary, _, _ = connection.recvmsg(1 << 16, _socket.CMSG_SPACE(RIGHTS.size))
        for level, kind, rights in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                (terminal,) = RIGHTS.unpack(rights[: RIGHTS.size])
                os.set_inheritable(terminal, False)
        if not block:
            return None, terminal
        data += block
    message: Result = jsonio.loads(data)
    return message, terminal
