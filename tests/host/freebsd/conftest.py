"""A FreeBSD machine of Python for the tests of the FreeBSD host."""

from pathlib import Path

import pytest

from runjail.host import programs
from runjail.host.freebsd import jails, lock, processes, unmount
from tests.support.host.machine import Machine, Other


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a Machine; nothing waits as long as it would on a real one."""
    made = Machine(tmp_path)
    monkeypatch.setattr(programs, "run", made.programs.run)
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(unmount, "PATIENCE", (0.0, 0.001, 0.001))
    monkeypatch.setattr(jails, "DYING_SECONDS", 0.05)
    monkeypatch.setattr(processes, "FREEZE_ROUNDS", 3)
    return made


@pytest.fixture
def volume(machine: Machine) -> str:
    """A directory of the host to bind."""
    path = machine.base / "volume"
    path.mkdir()
    return str(path)


@pytest.fixture
def other(machine: Machine) -> Other:
    """A second container of the machine, with the same root and another state directory."""
    return Other(machine)
