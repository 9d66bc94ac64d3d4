"""Programs that outlive a killed runjail are waited for before anything is undone."""

import os
import time
from pathlib import Path

import pytest

from runjail.errors import HostError
from runjail.host import program_lock, programs


def test_a_program_of_a_killed_creator_is_waited_for(tmp_path: Path) -> None:
    """jail(8) goes on when runjail is killed; a look before it ends would miss the jail it makes."""
    made = tmp_path / "made"
    pid = os.fork()
    if not pid:
        with program_lock.InheritedLock(str(tmp_path)):
            programs.run(["/bin/sh", "-c", f"echo > {tmp_path}/started; sleep 0.5; echo > {made}"])
        os._exit(0)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)

    program_lock.wait_for_programs(str(tmp_path))

    assert made.exists()


def test_nothing_is_waited_for_when_nothing_was_started(tmp_path: Path) -> None:
    program_lock.wait_for_programs(str(tmp_path))
    program_lock.wait_for_programs(str(tmp_path / "nonexistent"))
    with program_lock.InheritedLock(str(tmp_path)):
        pass

    program_lock.wait_for_programs(str(tmp_path))


def test_a_program_that_never_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_lock, "PATIENCE", 0.05)

    with program_lock.InheritedLock(str(tmp_path)), pytest.raises(HostError, match=r"runs longer than 0.05 s"):
        program_lock.wait_for_programs(str(tmp_path))


def test_programs_started_later_hold_nothing(tmp_path: Path) -> None:
    with program_lock.InheritedLock(str(tmp_path)):
        pass

    assert not programs.HELD
    listed = programs.run(["/bin/sh", "-c", "ls -l /proc/$$/fd 2>/dev/null | grep -c programs"]).stdout
    assert listed.strip() in (b"0", b"")
