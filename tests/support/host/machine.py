"""A FreeBSD host on a fake kernel with fake tools."""

import os
from pathlib import Path

from runjail.host.base import HostState
from runjail.host.freebsd.host import FreeBSDHost
from runjail.steps import CreateJail
from tests.support.host.fake_libc import FakeKernel
from tests.support.host.noted import Noted
from tests.support.host.replay import FakePrograms


class Machine(Noted):
    """A host on a fake kernel with fake tools, and one container `web` whose root is a real directory."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.kernel = FakeKernel()
        self.programs = FakePrograms(self.kernel)
        self.host = FreeBSDHost(self.kernel.libc())
        self.base = base
        self.root = base / "rootfs"
        self.state = base / "state"
        self.root.mkdir()
        self.state.mkdir()
        self.host_state = HostState("web", "web", str(self.state), str(self.root), str(self.root))

    def reboot(self) -> None:
        """Let everything look as it did, to another runjail, on a kernel that was started at another time."""
        self.kernel.procs[0]["start"] = 999
        self.host = FreeBSDHost(self.kernel.libc())

    def kinds(self) -> list[str]:
        return [note["undo"] for note in self.notes]

    def add_jail(self, jid: int = 7, name: str = "web") -> None:
        self.kernel.jails[jid] = (name, os.path.realpath(self.root))
        if name == "web":
            self.host_state.jid = jid


class Other(Noted):
    """Another container of a machine: of its root, or of another one, or with a root directory that shows its root."""

    def __init__(self, machine: Machine, name: str = "other", source: Path | None = None, root: str = "") -> None:
        super().__init__()
        self.machine, self.host = machine, machine.host
        self.state = machine.base / name
        self.state.mkdir()
        of = str(source or machine.root)
        self.host_state = HostState(name, name, str(self.state), of, root or of)


def step(machine: Machine, **params: str) -> CreateJail:
    """Return the step that makes the machine's jail, with more parameters; `__` stands for a dot."""
    given = tuple((key.replace("__", "."), value) for key, value in params.items())
    return CreateJail("web", (("name", "web"), ("path", machine.host_state.root), ("persist", None), *given))


def nmounts(machine: Machine) -> list[tuple[dict[str, str], int]]:
    """Return what nmount(2) was called with."""
    return [(call[1], call[2]) for call in machine.kernel.calls if call[0] == "nmount"]
