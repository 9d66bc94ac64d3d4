"""A container's terminal, from its program to containerd's FIFO."""

import os
import shutil
from typing import Any

import pytest

from tests.support.program import Bundle
from tests.support.shim.caller import Caller
from tests.support.shim.talk import Client

LINES = 20000


@pytest.mark.linux
def test_all_output_is_shown_although_the_program_ends_at_once(
    caller: Caller,
    bundle: Bundle,
    leftovers: Any,
) -> None:
    """More than pipes and terminals hold, to a reader that takes its time: up to the last byte."""
    path = caller.bundle("web")
    bundle.write("/bin/sh", "-c", f"yes runjail | head -n {LINES}; echo last", terminal=True)
    shutil.copy(bundle.path / "config.json", path)
    bundle.rootfs.rename(path / "rootfs")
    names = {"stdin": str(path / "in"), "stdout": str(path / "out")}
    for name in names.values():
        os.mkfifo(name)
    client = Client(caller.start("web").removeprefix("unix://"))
    reading = os.open(names["stdout"], os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    try:
        client.call("Create", bundle=str(path), terminal=True, **names)
        client.call("Start")
        shown = b""
        while block := os.read(reading, 4000):
            shown += block
        ended = client.call("Wait")["exit_status"]
        client.call("Delete")
        client.call("Shutdown")
    finally:
        os.close(reading)
        client.socket.close()

    assert ended == 0
    assert shown == b"runjail\r\n" * LINES + b"last\r\n"
    assert leftovers.mounts(str(path)) == []
