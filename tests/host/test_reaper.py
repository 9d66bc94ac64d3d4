"""The process that ends what a foreign program leaves behind."""

import os
import signal
import time

import pytest

from runjail.errors import HostError
from runjail.host import programs, reaper
from tests.support.leaks import Held, children

SH = "/bin/sh"


def sh(script: str, **options: object) -> programs.Result:
    return programs.run([SH, "-c", script], foreign=True, **options)  # type: ignore[arg-type]


def test_all_that_comes_back_comes_back() -> None:
    """Outputs, status, input, environment: as without it."""
    script = "cat; echo $A >&2; exit 7"

    assert sh(script, input=b"in", env={"A": "b"}) == programs.Result(7, b"in", b"b\n")
    assert sh("kill -9 $$").status == 137
    assert sh("sleep 600", timeout=0.3) == programs.Result(137, timed_out=True)
    assert len(sh("head -c 300000 /dev/zero", limit=1 << 20).stdout) == 300000


def test_a_program_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        programs.run(["/sbin/nonesuch"], foreign=True)

    assert caught.value.strerror == os.strerror(2)


def test_nothing_is_left_of_it() -> None:
    """No child, no descriptor."""
    before, others = Held(), children()
    for script in ("true", "exit 1", "sleep 600 &"):
        sh(script, leave=False)

    assert before.more() == []
    assert children() <= others


def test_a_caller_that_ignores_its_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert sh("exit 5").status == 5
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_program_that_kills_who_watches_over_it() -> None:
    with pytest.raises(HostError, match="was killed"):
        sh("kill -9 $PPID")


def test_it_holds_nothing_of_ours_open() -> None:
    """Whoever waits for the end of our caller must not wait for a hook, too."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    said = sh(f"ls -l /proc/$PPID/fd /dev/fd 2>/dev/null | grep -c 'pipe:.{os.fstat(writing).st_ino}.'; true").stdout
    os.close(reading)
    os.close(writing)

    assert said.strip() in (b"0", b"")


class Immortal:
    """A kernel whose processes do not die."""

    def adopt(self) -> None:
        """Do nothing."""

    def kill_children(self) -> None:
        """Do nothing."""


class Refusing(Immortal):
    def kill_children(self) -> None:
        """Fail."""
        raise PermissionError(1, os.strerror(1))


def forks() -> object:
    """Have a child that sleeps for a second."""
    if not os.fork():
        time.sleep(1)
        os._exit(0)
    return {"status": 0, "timed_out": False}


def test_survivors_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "SECONDS", 0.1)
    with pytest.raises(HostError, match=r"survive SIGKILL for 0\.1 s"):
        reaper.supervise(forks, False, (), Immortal())
    with pytest.raises(HostError, match="ending the processes"):
        reaper.supervise(forks, False, (), Refusing())


@pytest.mark.linux
def test_a_kernel_that_does_not_list_children(monkeypatch: pytest.MonkeyPatch) -> None:
    from runjail.host.linux import reaper as linux_reaper

    real, others = os.open, children()

    def without(path: str, *more: int) -> int:
        if path.endswith("/children"):
            raise FileNotFoundError
        return real(path, *more)

    monkeypatch.setattr(linux_reaper.os, "open", without)
    begin = time.monotonic()
    sh("setsid sleep 600 >/dev/null 2>&1 </dev/null & exit 0", leave=False)

    assert time.monotonic() - begin < 250
    assert children() <= others
