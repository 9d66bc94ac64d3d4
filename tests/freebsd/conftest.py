"""One container in the making on a real FreeBSD, taken back after each test."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.host.base import Box
from runjail.steps import CreateJail, Step

if sys.platform.startswith("freebsd"):
    from runjail.host import libc_freebsd
    from runjail.host.freebsd import FreeBSDHost


class Real:
    """One container in the making on this machine."""

    def __init__(self, base: Path) -> None:
        self.host = FreeBSDHost()
        self.libc = libc_freebsd.load()
        self.base, self.root, self.state = base, base / "rootfs", base / "state"
        self.state.mkdir()
        # Nothing is executed in it: only children of this interpreter live there.
        for name in ("dev", "etc", "proc", "run", "tmp", "var"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:*:0:0::/:/bin/sh\n")
        self.name = f"rjtest{os.getpid()}"
        self.box = Box(self.name, self.name, str(self.state), str(self.root), str(self.root))
        self.notes: list[dict[str, Any]] = []

    def apply(self, *steps: Step) -> None:
        for step in steps:
            self.host.apply(step, self.box, self.notes.append)

    def create(self, *params: tuple[str, str | None]) -> None:
        given = (("name", self.name), ("path", self.box.root), ("persist", None), *params)
        self.apply(CreateJail(self.name, given))

    def undo(self) -> None:
        self.host.kill_all(self.box, signal.SIGKILL)
        for note in reversed(self.notes):
            self.host.undo(note, self.box)

    def mounts(self) -> list[str]:
        """Return what is mounted below the root, relative to it."""
        table = [mounted.path for mounted in self.libc.mounts()]
        root = os.path.realpath(self.box.root) + "/"
        return [path.removeprefix(root) for path in table if path.startswith(root)]

    def fork(self, work: Callable[[], object], keep: list[int] | None = None) -> tuple[int, int]:
        """Fork a process into the jail. Returns its pid and where it writes what `work` returned or raised."""
        reading, writing = os.pipe()
        pid = self.host.fork_inside(self.box)
        if not pid:
            try:
                os.dup2(writing, 2)
                self.host.enter(self.box, keep or [])
                said = f"{work()}"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(2, said.encode())
            os._exit(0)
        os.close(writing)
        return pid, reading

    def inside(self, work: Callable[[], object], keep: list[int] | None = None) -> str:
        """Do work in the jail and return what it said."""
        pid, reading = self.fork(work, keep)
        with os.fdopen(reading) as file:
            said = file.read()
        os.waitpid(pid, 0)
        return said

    def sleeper(self) -> int:
        """Start a process that sleeps in the jail."""
        pid, reading = self.fork(lambda: (os.write(2, b"in"), time.sleep(100)))
        assert os.read(reading, 2) == b"in"
        os.close(reading)
        return pid


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path)
    yield made
    made.undo()
    assert made.libc.jail(made.name) is None
    assert made.mounts() == []
