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
from runjail.container.sync import MAX_MESSAGE, SyncSocket
from runjail.errors import HostError, NoAnswer, reason
from runjail.host.base import ANSWER_SECONDS, WorkingDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 16  # descriptors that init hands out: one a kind of namespace, and its root
NUMBER = Struct("i")
GONE = "joining the container: its init is gone"


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
    """
    while True:
        descriptor, _ = gate._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls
        starter = SyncSocket(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor))
        os.set_inheritable(descriptor, False)
        try:
            message = starter.receive()
        except (ValueError, ImportError):  # no JSON, which a module explains that cannot be loaded here
            message = None
        if message and "go" in message:
            gate.close()
            for handle in handles.values():
                os.close(handle)
            return starter
        if message and "join" in message:
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
        joiner = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            with WorkingDirectory(container.directory()):
                joiner.connect(GATE)
            SyncSocket(joiner).send(join=True)
            return _receive(joiner)
        except FileNotFoundError:
            return {}
        except ConnectionError:
            raise HostError(GONE) from None
        except TimeoutError:
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
        raise HostError(GONE)
    message = jsonio.loads(line)
    if "error" in message:
        raise HostError(str(message["text"]))
    return dict(zip(message["handles"], found, strict=True))
