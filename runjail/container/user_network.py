"""A program that is a container's network: started before the container is, noted, told of ports.

It (network/usermode.py) runs as long as init does, and is a note of kind `program` like any other change: `delete`
ends it, should it still run, and a container that is made again gets another one.
"""

from __future__ import annotations

import _socket
import os

from runjail.container import gate
from runjail.errors import NetworkError, reason
from runjail.host.base import WorkingDirectory
from runjail.host.networks import NetworkProgram
from runjail.network import forwards
from runjail.network.usermode import UserNetwork, from_data, require_free
from runjail.record import to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.container import Container

NOTE = "program"
ANSWER_SECONDS = 20.0


def start(container: Container, network: UserNetwork) -> None:
    """Start the program of a container whose init is parked; the caller has it locked. Raises NetworkError, HostError.

    When it returns, the network is there and ports are published.
    """
    require_free(network)
    facts = {"network": to_data(network)}
    directory = os.open(container.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        argv, enters = network.argv, network.enters
        program = NetworkProgram(network.name, argv, enters, directory, lambda: gate.ask_locked(container))
        run = container.host.networks().run
        run(program, container.host_state, lambda note: container.note({**note, **facts}))
        if network.socket:
            _publish(directory, network)
    finally:
        os.close(directory)


def _publish(directory: int, network: UserNetwork) -> None:
    """Tell the program of the ports, and take its socket away: nobody changes them later."""
    with WorkingDirectory(directory):
        for port in network.ports:
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(network.socket)
                forwards.publish(connection, port, network.address)
            except OSError as error:
                raise NetworkError(f"--publish: asking {network.name}: {reason(error)}") from None
            finally:
                connection.close()
        os.unlink(network.socket)


def of(container: Container) -> UserNetwork | None:
    """Return the program that is a container's network, None without one."""
    noted: list[dict[str, Any]] = [note["network"] for note in container.notes() if note["undo"] == NOTE]
    return from_data(noted[-1]) if noted else None
