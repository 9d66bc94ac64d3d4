"""A process's output, from its program to containerd's FIFOs: whole, however late it is read."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail import jsonio
from tests.support.program import Bundle, own_words
from tests.support.shim.caller import Caller
from tests.support.shim.talk import Client

pytestmark = [pytest.mark.linux, pytest.mark.needs("root", "mounts")]
BYTES = 1 << 20
LEFT = 1 << 15  # half of what a FIFO holds
SCRIPT = f"yes runjail | head -c {BYTES}; printf last; yes error | head -c {BYTES} >&2; printf last >&2"
WRITTEN = [(line * BYTES)[:BYTES] + b"last" for line in (b"runjail\n", b"error\n")]


class Output:
    """The FIFOs of a process, and what was read from them."""

    def __init__(self, directory: Path) -> None:
        self.names = {which: str(directory / which) for which in ("stdin", "stdout", "stderr")}
        directory.mkdir()
        for path in self.names.values():
            os.mkfifo(path)
        self._ends = [os.open(self.names[which], os.O_RDONLY | os.O_NONBLOCK) for which in ("stdout", "stderr")]
        self.read = [b"", b""]

    def take(self, most: int) -> None:
        """Read as many bytes of standard output, then of standard error, or to the end."""
        for number, descriptor in enumerate(self._ends):
            os.set_blocking(descriptor, True)
            while block := os.read(descriptor, min(4096, most - len(self.read[number]))):
                self.read[number] += block

    def close(self) -> None:
        """Close the FIFOs."""
        for descriptor in self._ends:
            os.close(descriptor)


@pytest.fixture
def client(caller: Caller, bundle: Bundle) -> Iterator[Client]:
    """A client of a shim for the container `web`, which has a bundle."""
    path = caller.bundle("web")
    bundle.write("/bin/sh", "-c", SCRIPT)
    shutil.copy(bundle.path / "config.json", path)
    bundle.rootfs.rename(path / "rootfs")
    made = Client(caller.start("web").removeprefix("unix://"))
    yield made
    made.socket.close()


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    made = Output(tmp_path / "fifos")
    yield made
    made.close()


def test_output_is_read_after_the_container_is_gone(client: Client, caller: Caller, output: Output) -> None:
    """The rest waits in the FIFOs when the end was told, the container deleted and the shim has ended."""
    client.call("Create", bundle=str(caller.state / "web"), **output.names)
    client.call("Start")
    output.take(BYTES - LEFT)
    assert client.call("Wait")["exit_status"] == 0
    client.call("Delete")
    client.call("Shutdown")
    with pytest.raises(ConnectionResetError):
        client.receive()  # it has ended
    output.take(2 * BYTES)

    assert [own_words(said.decode()).encode() for said in output.read] == WRITTEN


def test_output_of_another_process_is_read_after_it_is_gone(
    client: Client,
    caller: Caller,
    output: Output,
    bundle: Bundle,
) -> None:
    """The container goes on, and so does the shim."""
    process = dict(bundle.config["process"])
    bundle.write("/bin/sleep", "600")
    shutil.copy(bundle.path / "config.json", caller.state / "web")
    client.call("Create", bundle=str(caller.state / "web"))
    client.call("Start")
    client.call("Exec", exec_id="more", spec={"type_url": "", "value": jsonio.dumps(process).encode()}, **output.names)
    client.call("Start", exec_id="more")
    output.take(BYTES - LEFT)
    assert client.call("Wait", exec_id="more")["exit_status"] == 0
    client.call("Delete", exec_id="more")
    output.take(2 * BYTES)

    assert output.read == WRITTEN
    client.call("Kill", signal=9)
    client.call("Wait")
    client.call("Delete")
    client.call("Shutdown")
