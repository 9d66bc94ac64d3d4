"""Programs that may leave nobody behind: what they started ends with them."""

import os
import time

import pytest

from runjail.host import programs
from tests.support.leaks import children


def sh(script: str, timeout: float = 10, limit: int = 65536) -> programs.Result:
    return programs.run(["/bin/sh", "-c", script], timeout=timeout, limit=limit, leave=False)


def ended(pid: int) -> bool:
    """Whether a process is gone before long; a zombie of somebody else counts as gone."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            if os.path.exists("/proc/self/stat"):
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    if file.read().rpartition(")")[2].split()[0] == "Z":
                        return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_output_exit_code_and_signals_come_back_as_ever() -> None:
    assert sh("echo out; echo err >&2; exit 7") == programs.Result(7, b"out\n", b"err\n")
    assert sh("kill -9 $$").status == 137
    assert sh("exec >&- 2>&-; sleep 0.1; exit 4").status == 4


def test_who_holds_the_outputs_is_killed_and_told() -> None:
    result = sh("sleep 600 & echo $!")

    assert (result.status, result.left, result.timed_out) == (0, True, False)
    assert ended(int(result.stdout))


def test_who_holds_nothing_is_killed_too() -> None:
    result = sh("sleep 600 >/dev/null 2>&1 </dev/null & echo $!")

    assert not result.left and ended(int(result.stdout))


@pytest.mark.needs("setsid")
def test_a_daemon_of_a_tool_that_we_know_lives_on() -> None:
    """Its own session and no descriptors of ours: that is asked for, as by gpg's agent. Others are `foreign`."""
    result = sh("setsid sleep 600 >/dev/null 2>&1 </dev/null & sleep 0.1; echo $!")
    pid = int(result.stdout)
    try:
        os.kill(pid, 0)
    finally:
        os.kill(pid, 9)
    assert not result.left


def test_too_much_output_ends_it() -> None:
    result = sh("yes & exec yes", timeout=200, limit=1000)

    assert len(result.stdout) == 1000 and not result.timed_out


def test_a_long_complaint_does_not_end_it() -> None:
    result = sh("head -c 5000 /dev/zero >&2; echo fine", limit=1000)

    assert (result.status, result.stdout, len(result.stderr)) == (0, b"fine\n", 1000)


def test_time_limit() -> None:
    result = sh("sleep 600 & echo $!; sleep 600", timeout=0.3)

    assert result.timed_out and ended(int(result.stdout))


@pytest.mark.parametrize("script", ["true", "sleep 600 &", "exit 3", "kill -9 $$"])
def test_every_child_is_collected(script: str) -> None:
    others = children()
    sh(script)

    assert children() <= others
