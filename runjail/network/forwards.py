"""Telling slirp4netns over its socket which ports it publishes: slirp4netns(1), --api-socket."""

from __future__ import annotations

from runjail import jsonio
from runjail.errors import NetworkError
from runjail.network.usermode import TAKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

LARGEST = 1 << 16  # bytes of an answer


def publish(connection: _socket.socket, port: dict[str, Any], address: str) -> None:
    """Have one port published. connection: to its socket; it takes one request on each. Raises NetworkError.

    address: the container's.
    """
    arguments = {
        "proto": port["protocol"],
        "host_addr": port.get("hostIP", "0.0.0.0"),
        "host_port": port["hostPort"],
        "guest_addr": address,
        "guest_port": port["containerPort"],
    }
    connection.sendall(jsonio.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
    connection.shutdown(1)
    answer = b""
    while len(answer) < LARGEST and (block := connection.recv(LARGEST)):
        answer += block
    try:
        said = jsonio.loads(answer)
    except ValueError:
        said = {}
    if not isinstance(said, dict) or "return" not in said:
        where = f"{arguments['host_addr']}:{port['hostPort']}/{port['protocol']}"
        raise NetworkError(f"--publish: slirp4netns cannot have port {where} of the host", TAKEN)
