"""Whoever decides about calls with SCMP_ACT_NOTIFY gets the listening end of the filter.

It comes over linux.seccomp.listenerPath with a container process state (runtime-spec, config-linux.md), from the verb
that makes the process: one connection each. The process itself goes on meanwhile, and waits in the kernel for an answer
where it has to.
"""

from __future__ import annotations

import _socket
import os
import select
import struct

from runjail import jsonio
from runjail.container.status import document
from runjail.errors import HostError, reason
from runjail.host.base import ANSWER_SECONDS, connect_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.container import Container

NAME = "seccompFd"  # runtime-spec's, and of the only descriptor
SEND_SECONDS = 10.0


class ListeningEnd:
    """The listening end of the seccomp filter of a process of ours, descriptor `number` of it. Raises HostError.

    container, status: of the state that is sent.
    """

    def __init__(self, container: Container, pid: int, number: int, status: str) -> None:
        self._container, self._status, self._sent = container, status, False
        try:
            self._descriptor = container.host.take_descriptor(pid, number)
        except OSError as error:
            raise HostError(f"taking the listener of the seccomp filter from {pid}: {reason(error)}") from error

    def __enter__(self) -> ListeningEnd:
        return self

    def __exit__(self, *_raised: object) -> None:
        os.close(self._descriptor)

    def is_asked(self, link: int) -> bool:
        """Wait until the process has something to say on its link; True when it waits for an answer before."""
        poll = select.poll()
        for descriptor in (link, self._descriptor):
            poll.register(descriptor, select.POLLIN)
        ready = dict(poll.poll(ANSWER_SECONDS * 1000))
        return self._descriptor in ready and link not in ready

    def pass_on(self, pid: int) -> None:
        """Send it, once, as that of a process with this number."""
        if self._sent:
            return
        seccomp = jsonio.loads(self._container.config())["linux"]["seccomp"]
        state = document(self._container, self._status)
        metadata = seccomp.get("listenerMetadata")
        message = {
            "ociVersion": state["ociVersion"],
            "fds": [NAME],
            "pid": pid,
            **({"metadata": metadata} if metadata else {}),
            "state": state,
        }
        _send(seccomp["listenerPath"], jsonio.dumps(message).encode(), self._descriptor)
        self._sent = True


def _send(path: str, data: bytes, descriptor: int) -> None:
    try:
        connection = connect_named(path)
    except OSError as error:
        text = f"failed to connect with seccomp agent specified in the seccomp profile: {path}: {reason(error)}"
        raise HostError(text) from error
    try:
        connection.settimeout(SEND_SECONDS)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        sent = connection.sendmsg([data], rights)
        while sent < len(data):
            sent += connection.send(data[sent:])
    except OSError as error:
        raise HostError(f"cannot send seccomp fd to {path}: {reason(error)}") from error
    finally:
        connection.close()
