"""What containerd does with the program of the shim, and its place for sockets."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import jsonio, protobuf
from runjail.shim import messages

SHIM = Path(__file__).resolve().parents[3] / ".venv" / "bin" / "containerd-shim-runjail-v1"


class Caller:
    """containerd's part: bundles, and the program's three commands. Sockets are in a directory of the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state" / "io.containerd.runtime.v2.task" / "default"
        self.sockets = directory / "s"
        self.env = {"RUNJAIL_CONFIG": ""}

    def bundle(self, id: str, **annotations: str) -> Path:
        """Make a bundle."""
        path = self.state / id
        path.mkdir(parents=True)
        (path / "config.json").write_text(jsonio.dumps({"annotations": annotations}), encoding="ascii")
        return path

    def words(self, id: str, verb: str, program: Path = SHIM) -> list[str]:
        """Return a command line."""
        where = ["-address", str(self.directory / "containerd.sock"), "-bundle", str(self.state / id)]
        return [str(program), "-namespace", "default", *where, "-id", id, verb]

    def parameters(self, id: str) -> bytes:
        """Return BootstrapParams that name our socket directory."""
        fields = {"instance_id": id, "namespace": "default", "socket_dir": str(self.sockets)}
        return protobuf.encode(messages.BOOTSTRAP, fields)

    def start(self, id: str, program: Path = SHIM) -> str:
        """Return the address that `start` prints."""
        done = subprocess.run(
            self.words(id, "start", program), input=self.parameters(id), capture_output=True, env=self.env, timeout=200
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode()

    def delete(self, id: str) -> dict[str, Any]:
        """Return what `delete` prints."""
        done = subprocess.run(
            self.words(id, "delete"), stdin=subprocess.DEVNULL, capture_output=True, env=self.env, timeout=200
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        return protobuf.decode(messages.ENDED, done.stdout)

    def pid(self, id: str) -> int:
        """Return the shim's pid."""
        return int((self.state / id / "shim.pid").read_text(encoding="ascii"))


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    made = Caller(tmp_path)
    if len(os.fsencode(made.sockets)) > 38:  # what a FreeBSD path has room for
        made.sockets = Path("/tmp") / f"s{os.getpid()}"
    yield made
    for path in made.state.glob("*"):
        made.delete(path.name)
    eventually(lambda: not any(made.sockets.glob("*")), "the shims end")
    if made.sockets.exists():
        made.sockets.rmdir()


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)
