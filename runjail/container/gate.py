"""The gate: a socket in a container's state directory, at which its init waits for `start`.

Who may open that directory may come, and none of the container's own processes can. Meanwhile init hands out what it
takes to join it. The kernel shows that only to who may trace init, and as long as init is a program of ours nobody may
but with CAP_SYS_PTRACE where it was forked: an ordinary user has not, the container's root must not have.
"""

from __future__ import annotations

import _socket
import os
from _struct import Struct

from runjail import jsonio
from runjail.container.container import GATE, Container
from runjail.container.sync import MAX_MESSAGE, SyncSocket, patient
from runjail.errors import HostError, NoAnswer, reason
from runjail.host.base import ANSWER_SECONDS, WorkingDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 16  # descriptors that init hands out: one a kind of namespace, and its root
NUMBER = Struct("i")
GONE = "joining the container: its init is gone"
SILENT = "joining the container: its init is gone, or hands out nothing, as those that earlier versions have created"


def listen(container: Container) -> _socket.socket:
    """Return the socket on which init will wait; bound by a short name, since sun_path holds about 100 bytes."""
    gate = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    with WorkingDirectory(container.directory()):
        gate.bind(GATE)
        gate.listen(1)
    return gate


def wait(gate: _socket.socket, handles: Mapping[str, int]) -> SyncSocket:
    """*child* Wait for a starter that says go; one that dies before it does leaves a container that waits on.

    handles: what is handed to who asks for it, with our root directory: namespaces by kind (Host.record_namespaces).
    To ask is to connect and say nothing (shutdown(2)).
    """
    while True:
        descriptor, _ = gate._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls
        starter = SyncSocket(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor))
        os.set_inheritable(descriptor, False)
        try:
            message = starter.receive()
        except (ValueError, ImportError):  # no JSON, which a module explains that cannot be loaded here
            message = {}
        if isinstance(message, dict) and "go" in message:
            gate.close()
            for handle in handles.values():
                os.close(handle)
            return starter
        if message is None and handles:  # any word would have started one that an earlier version has made
            _hand_out(starter, handles)
        starter.close()


def _hand_out(joiner: SyncSocket, handles: Mapping[str, int]) -> None:
    try:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            given = {**handles, "root": root}
            rights = b"".join(map(NUMBER.pack, given.values()))
            line = jsonio.dumps({"handles": list(given)}).encode() + b"\n"
            joiner.connection.sendmsg([line], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        finally:
            os.close(root)
    except OSError as error:  # init waits on, whatever becomes of who asked
        joiner.report(HostError(f"joining the container: {reason(error)}"))


def ask(container: Container) -> dict[str, int]:
    """Return init's namespaces by kind, and its root directory, each an open descriptor; {} when it has started.

    Raises HostError, NoAnswer when init does not run.
    """
    with container:  # `start` waits for its turn
        return ask_locked(container)


def ask_locked(container: Container) -> dict[str, int]:
    """Do what `ask` does, for who has the container locked."""
    joiner = patient(ANSWER_SECONDS)
    try:
        with WorkingDirectory(container.directory()):
            joiner.connect(GATE)
        joiner.shutdown(_socket.SHUT_WR)
        return _receive(joiner)
    except FileNotFoundError:
        return {}
    except ConnectionError:
        raise HostError(GONE) from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswer(ANSWER_SECONDS) from None
    finally:
        joiner.close()


def _receive(joiner: _socket.socket) -> dict[str, int]:
    joiner.settimeout(ANSWER_SECONDS)
    line, ancillary, _, _ = joiner.recvmsg(MAX_MESSAGE >> 12, _socket.CMSG_SPACE(MOST * NUMBER.size))
    found = [
        number
        for level, kind, data in ancillary
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for (number,) in NUMBER.iter_unpack(data[: len(data) // NUMBER.size * NUMBER.size])
    ]
    for number in found:
        os.set_inheritable(number, False)
    if not line:
        raise HostError(SILENT, "start it first, or join it as who may trace it (CAP_SYS_PTRACE)")
    message = jsonio.loads(line)
    if "error" in message:
        raise HostError(str(message["text"]))
    if len(found) < len(message["handles"]):
        raise HostError("joining the container: this process may not open as many files", "ulimit -n says how many")
    return dict(zip(message["handles"], found, strict=True))
