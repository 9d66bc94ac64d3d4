"""A client of a shim that runs: frames of ttRPC, without containerd."""

import socket
from typing import Any

from runjail import protobuf
from runjail.shim import messages

TASK = "containerd.task.v2.Task"
LIST = {  # what is asked and what is answered, of the methods that tests call
    "Connect": (messages.ID, messages.CONNECTED),
    "Create": (messages.CREATE, messages.PID),
    "Start": (messages.PROCESS, messages.PID),
    "Wait": (messages.PROCESS, messages.WAITED),
    "Delete": (messages.PROCESS, messages.ENDED),
    "Exec": (messages.EXEC, messages.EMPTY),
    "State": (messages.PROCESS, messages.STATE),
    "Pids": (messages.ID, messages.PIDS),
    "Stats": (messages.ID, messages.STATS),
    "Kill": (messages.KILL, messages.EMPTY),
    "Pause": (messages.ID, messages.EMPTY),
    "Resume": (messages.ID, messages.EMPTY),
    "Update": (messages.UPDATE, messages.EMPTY),
    "Shutdown": (messages.SHUTDOWN, messages.EMPTY),
}


class Client:
    """One connection."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(200)
        self.stream = -1
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def send(self, method: str, payload: bytes = b"", service: str = TASK) -> None:
        """Send a request."""
        self.stream += 2
        data = protobuf.encode(messages.REQUEST, {"service": service, "method": method, "payload": payload})
        self.socket.sendall(frame(self.stream, data))

    def receive(self) -> dict[str, Any]:
        """Return a response. Raises ConnectionResetError at the end."""
        header = self._exactly(10)
        return protobuf.decode(messages.RESPONSE, self._exactly(int.from_bytes(header[:4], "big")))

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        """Call a method of the container `web` and insist on success."""
        asked, answered = LIST[method]
        self.send(method, protobuf.encode(asked, {"id": "web", **request}))
        said = self.receive()
        assert not said["status"], said
        return protobuf.decode(answered, said["payload"])

    def pid(self) -> int:
        """Ask for the shim's pid, as containerd does."""
        pid: int = self.call("Connect")["shim_pid"]
        return pid

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self.socket.recv(count - len(data))
            if not block:
                raise ConnectionResetError
            data += block
        return data


def frame(stream: int, data: bytes) -> bytes:
    """Return a request's frame."""
    return len(data).to_bytes(4, "big") + stream.to_bytes(4, "big") + b"\1\0" + data
