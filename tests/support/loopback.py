"""Whether this machine can talk to itself. The demo asks too, which has no pytest."""

import socket


def loopback() -> bool:
    """Whether a program can talk to itself on 127.0.0.1: not in a network namespace that was only made."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError:
        return False
    return True
