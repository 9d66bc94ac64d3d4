"""Joining a container: what goes wrong on the way, without one."""

import errno
import os

import pytest

from runjail.errors import HostError
from tests.support.leaks import Held
from tests.support.program import LINUX

if not LINUX:
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import join, libc, rights  # its functions are Linux's own

pytestmark = pytest.mark.needs("linux")


def test_a_clone_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the call, as emulators refuse it; nothing stays open, and nobody is told of a process."""

    def refused() -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(libc, "clone_sibling", refused)
    before = Held()
    told: list[int] = []

    with pytest.raises(HostError, match=r"clone\(2\) with CLONE_PARENT: invalid argument"):
        join.appear(told.append)

    assert told == []
    assert before.more() == []


def test_who_makes_the_pid_namespace_ends_when_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is our creator's: the child, a copy of it, does not take back what that has made."""

    def refused(*_arguments: int) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(libc, "setns", refused)
    monkeypatch.setattr(rights, "holds", lambda _capability: True)
    monkeypatch.setattr(libc, "unshare", lambda _flags: None)
    monkeypatch.setattr(libc, "clone_sibling", refused)
    creator = os.getpid()
    reading, writing = os.pipe()
    try:
        with pytest.raises(HostError, match=r"making a pid namespace: unshare\(2\) or clone\(2\) is refused"):
            join.fork_first(os.fork)
    finally:
        if os.getpid() != creator:
            os.write(writing, b"went on")
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as said:
        assert said.read() == b""


def test_what_we_were_started_with_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment lies where proc_pid_stat(5) says."""
    wiped: list[tuple[int, int]] = []
    monkeypatch.setattr(libc, "prctl", lambda *_: None)
    monkeypatch.setattr(libc, "wipe", lambda start, length: wiped.append((start, length)))
    join.hide()
    with open("/proc/self/environ", "rb") as file:
        length = len(file.read())

    assert [each for _start, each in wiped] == [length] and wiped[0][0] > 0
