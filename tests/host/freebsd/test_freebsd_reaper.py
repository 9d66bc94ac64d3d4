"""FreeBSD's reaper, on a kernel of Python."""

import errno

import pytest

from runjail.errors import HostError
from runjail.host.freebsd.reaper import FreeBSDReaper
from runjail.host.reaper import supervise
from tests.support.host.fake_libc import FakeKernel, Refusal

ENDED = {"status": 0, "timed_out": False}


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def test_it_keeps_and_kills_descendants(kernel: FakeKernel) -> None:
    """procctl(2): PROC_REAP_ACQUIRE takes no argument, PROC_REAP_KILL begins with the signal."""
    reaper = FreeBSDReaper(kernel.libc())
    reaper.adopt()
    reaper.kill_children()

    assert kernel.calls == [("procctl", 2, None), ("procctl", 6, 9)]


def test_nobody_to_kill(kernel: FakeKernel) -> None:
    kernel.refuse["procctl"] = Refusal(errno.ESRCH)

    FreeBSDReaper(kernel.libc()).kill_children()


def test_a_refusal(kernel: FakeKernel) -> None:
    kernel.refuse["procctl"] = Refusal(errno.EPERM)

    with pytest.raises(PermissionError):
        FreeBSDReaper(kernel.libc()).kill_children()


def test_a_program_in_its_care(kernel: FakeKernel) -> None:
    assert supervise(lambda: ENDED, False, (), FreeBSDReaper(kernel.libc())) == ENDED


def test_a_kernel_that_does_not_let_it(kernel: FakeKernel) -> None:
    """Nothing is run then: what it leaves could not be ended."""
    kernel.refuse["procctl"] = Refusal(errno.EBUSY)
    with pytest.raises(OSError, match="busy"):
        supervise(lambda: ENDED, False, (), FreeBSDReaper(kernel.libc()))


def test_errors_of_the_host_come_through(kernel: FakeKernel) -> None:
    def fail() -> object:
        raise HostError("process 7: its exit status was lost")

    with pytest.raises(HostError, match="process 7: its exit status was lost"):
        supervise(fail, True, (), FreeBSDReaper(kernel.libc()))
