"""One container in the making on a real FreeBSD."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runjail.host.base import HostState
from runjail.plan.plan import make_plan
from runjail.spec.parse import parse
from runjail.steps import CreateJail, Plan
from tests.support.host.noted import Noted
from tests.support.processes import report

if sys.platform.startswith("freebsd"):
    from runjail.host.freebsd import libc
    from runjail.host.freebsd.host import FreeBSDHost


class Real(Noted):
    """One container in the making on this machine."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.host = FreeBSDHost()
        self.libc = libc.load()
        self.base, self.root, self.state = base, base / "rootfs", base / "state"
        self.state.mkdir()
        # Nothing is executed in it: only children of this interpreter live there.
        for name in ("dev", "etc", "proc", "run", "tmp", "var"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:*:0:0::/:/bin/sh\n")
        self.name = f"rjtest{os.getpid()}"
        self.host_state = HostState(self.name, self.name, str(self.state), str(self.root), str(self.root))

    def create(self, *params: tuple[str, str | None]) -> None:
        given = (("name", self.name), ("path", self.host_state.root), ("persist", None), *params)
        self.apply(CreateJail(self.name, given))

    def build(self, **config: Any) -> None:
        """Perform all that `create` would do to the system for this config.json."""
        self.apply(*self.plan(**config).steps)

    def plan(self, **config: Any) -> Plan:
        """Plan it, and know what the state would say of it."""
        document = {"ociVersion": "1.3.0", "root": {"path": str(self.root)}, **config}
        spec = parse(document, "freebsd")
        plan = make_plan(spec, container_id=self.name, bundle=str(self.base), state=str(self.state), os="freebsd")
        self.host_state.name, self.host_state.root = plan.name, plan.root
        return plan

    def jls(self, *params: str) -> Any:
        """Return what jls(8) says of the jail, one value or a list of them."""
        argv = ["jls", "--libxo", "json", "-j", self.host_state.name, *params]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        row = json.loads(said)["jail-information"]["jail"][0]
        values = [row.get(param, "") for param in params]
        return values[0] if len(values) == 1 else values

    def undo(self) -> None:
        self.host.kill_all(self.host_state, signal.SIGKILL)
        super().undo()

    def mounts(self) -> list[str]:
        """Return what is mounted below the root, relative to it."""
        table = [mounted.path for mounted in self.libc.mounts()]
        root = os.path.realpath(self.host_state.root) + "/"
        return [path.removeprefix(root) for path in table if path.startswith(root)]

    def fork(self, work: Callable[[], object], keep: list[int] | None = None) -> tuple[int, int]:
        """Fork a process into the jail. Returns its pid and where it writes what `work` returned or raised."""
        reading, writing = os.pipe()
        pid = self.host.fork_joining(self.host_state)
        if not pid:
            os.dup2(writing, 2)
            report(2, lambda: (self.host.enter(self.host_state, keep or []), work())[1])
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


def tool(*argv: str) -> str:
    """Run a program of the system that has to succeed, and return what it says."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
