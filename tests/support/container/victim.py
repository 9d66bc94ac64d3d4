"""Verbs that are killed at a step, and what is left of them."""

import os
import subprocess

from tests.support.container.harness import Life, is_alive, tree, until
from tests.support.leftovers import Leftovers
from tests.support.program import FREEBSD, TOP

KILLER = str(TOP / "tests/support/container/fault_injection.py")


MAX_STEPS = 400


def interpreter() -> list[str]:
    """Return the command of the installed program's own Python: no site, isolated."""
    first = (TOP / ".venv" / "bin" / "runjail").read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#!").split()


class Victim:
    """Runs verbs that are killed, and looks at what is left of them."""

    def __init__(self, life: Life, leftovers: Leftovers) -> None:
        self.life, self.leftovers, self.runjail = life, leftovers, life.runjail
        self.group = ""
        path = life.bundle.config.get("linux", {}).get("cgroupsPath", "")
        if path:
            self.group = path.strip("/")
        self.before = tree(life.bundle.rootfs)
        self.others = leftovers.processes()  # the session's own, e.g. zfs-fuse

    def kill(self, mode: str, number: "int | str", *args: str) -> int:
        """Run a verb and kill it at a step; returns its exit code, -9 when it was killed."""
        command = [*interpreter(), KILLER, mode, str(number), "--root", str(self.runjail.root), *args]
        with open(self.life.path / "said", "wb") as said:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=200, check=False, env={}
            ).returncode

    def said(self) -> str:
        return (self.life.path / "said").read_text()

    def processes(self) -> list[str]:
        """Return the processes that belong to this test: the program's own, by their arguments, and containers'."""
        if FREEBSD:
            listed = subprocess.run(
                ["ps", "-axww", "-o", "pid,command"], capture_output=True, text=True, check=True
            ).stdout
            return [line for line in listed.splitlines() if str(self.runjail.root) in line]
        mine = str(self.runjail.root).encode()
        found = [f"{pid} {line}" for pid, line in self.leftovers.processes() if (pid, line) not in self.others]
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read()
            except OSError:
                continue
            if mine in line and is_alive(int(name)):
                found.append(f"{name} {line!r}")
        return found

    def nothing_is_left(self, what: str) -> None:
        """Delete by force and look at everything that could have stayed."""
        state = self.runjail("state", "c")
        assert state.returncode == 0 or "does not exist" in state.stderr or "damaged" in state.stderr, (what, state)
        assert self.runjail("list").returncode == 0, what
        result = self.runjail("delete", "--force", "c")
        assert (result.returncode, result.stderr) == (0, ""), (what, result)
        assert not (self.runjail.root / "c").exists(), what
        assert until(lambda: not self.processes()), (what, self.processes())
        assert self.leftovers.mounts(str(self.life.path)) == [], what
        assert self.leftovers.mounts(str(self.runjail.root)) == [], what
        assert self.records() == [], what
        groups = [path for path in self.leftovers.cgroups() if self.group in path]
        assert not groups or not self.group, (what, groups)
        assert tree(self.life.bundle.rootfs) == self.before, what
        assert self.half_written() == [], what

    def records(self) -> list[str]:
        """Return what is written down, on FreeBSD, about mounts of this test's containers."""
        command = ["grep", "-rs", str(self.runjail.root), "/var/run/runjail-mounts"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    def half_written(self) -> list[str]:
        """Return what is left beside pid files."""
        return [path.name for path in self.life.path.parent.glob("pid.*")]
