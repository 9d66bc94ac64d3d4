"""--pidfd-socket: whoever asks gets a descriptor of the container's process, named as runc names it."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life, failed, until

pytestmark = pytest.mark.linux


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Where pidfds are sent to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        found.bind(str(tmp_path / "pidfd"))
        found.listen()
        yield found


def came(listener: socket.socket) -> tuple[bytes, int]:
    """Return the name and the descriptor that were sent."""
    connection, _ = listener.accept()
    with connection:
        name, (descriptor,), _flags, _address = socket.recv_fds(connection, 64, 1)
    return name, descriptor


def test_create_sends_one_of_init(life: Life, listener: socket.socket) -> None:
    life.create("/bin/sleep", "600", options=("--pidfd-socket", listener.getsockname()))
    name, descriptor = came(listener)

    assert name == b"standard_init"
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    until(lambda: life.runjail.state("c")["status"] == "stopped")


def test_exec_sends_one_of_the_process(life: Life, listener: socket.socket) -> None:
    life.sleep()
    life.runjail.ok("exec", "-d", "--pidfd-socket", listener.getsockname(), "c", "/bin/sleep", "600")
    name, descriptor = came(listener)

    assert name == b"setns_init"
    assert life.runjail("exec", "c", "/bin/sh", "-c", "ps | grep -c '[s]leep 600'").stdout == "2\n"
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    until(lambda: life.runjail("exec", "c", "/bin/sh", "-c", "ps | grep -c '[s]leep 600'").stdout == "1\n")


def test_nobody_listens(life: Life, tmp_path: Path) -> None:
    """Nothing is left of the container, and nothing runs in one that there was."""
    path = tmp_path / "none"
    said = f"connecting to pidfd socket {path}: does not exist"
    failed(life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600"), "--pidfd-socket", path, "c"), said)
    life.gone()
    life.sleep()
    failed(life.runjail("exec", "-d", "--pidfd-socket", path, "c", "/bin/sleep", "1"), said, 255)
    assert life.runjail("exec", "c", "/bin/sh", "-c", "ps | grep -c '[s]leep 1$'").stdout == "0\n"
