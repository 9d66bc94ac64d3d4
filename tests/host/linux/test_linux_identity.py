"""The bounding set: what is not allowed is dropped, or was not there, or the process does not begin."""

import errno
import os

import pytest

from runjail.errors import HostError
from tests.support.program import LINUX

if not LINUX:
    pytest.skip("needs Linux", allow_module_level=True)

from runjail.host.linux import identity, libc

LAST = 40  # capability of this kernel


class Kernel:
    """prctl(2) of a kernel. held: the bounding set; may_drop: whether the caller has CAP_SETPCAP."""

    def __init__(self, held: set[int], may_drop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held, self.may_drop, self.asked = held, may_drop, 0
        monkeypatch.setattr(libc, "prctl", self)

    def __call__(self, option: int, number: int) -> int:
        """Cap_prctl_drop of the kernel looks at the right first, then at the number."""
        self.asked += 1
        if option == libc.PR_CAPBSET_DROP and not self.may_drop:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if number > LAST:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if option == libc.PR_CAPBSET_DROP:
            self.held.discard(number)
        return number in self.held


def test_what_is_not_allowed_is_dropped_with_a_call_each(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({*range(LAST + 1)}, True, monkeypatch)
    identity._drop_bounding(1 << 5 | 1 << LAST)

    assert kernel.held == {5, LAST}
    assert kernel.asked == LAST + 2 - 2  # and one that this kernel does not have


def test_what_is_not_there_takes_no_right_to_drop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({5}, False, monkeypatch)
    identity._drop_bounding(1 << 5)

    assert kernel.held == {5}


def test_what_cannot_be_dropped_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel({5, 6}, False, monkeypatch)
    with pytest.raises(HostError, match="dropping capabilities") as caught:
        identity._drop_bounding(1 << 5)

    assert caught.value.hint == "that takes CAP_SETPCAP"
