"""The last things a child does: limits and identity."""

import os
import resource

import pytest

from runjail.errors import HostError
from runjail.host.child import NOBODY_AT_ALL, set_ids, set_rlimits
from runjail.spec.model import Rlimit, User

NUMBERS = {"RLIMIT_NOFILE": resource.RLIMIT_NOFILE, "RLIMIT_CORE": resource.RLIMIT_CORE}


class FakeKernel:
    """Stands for setrlimit(2) and getrlimit(2); it grants values between `floor` and `clamp`."""

    def __init__(self) -> None:
        self.clamp = resource.RLIM_INFINITY
        self.floor = 0
        self.now: dict[int, tuple[int, int]] = {}

    def set(self, number: int, limits: tuple[int, int]) -> None:
        """Change silently what is out of its range, as FreeBSD does."""
        soft, hard = map(self._granted, limits)
        self.now[number] = soft, hard

    def _granted(self, value: int) -> int:
        unlimited = resource.RLIM_INFINITY
        if self.clamp != unlimited and (value == unlimited or value > self.clamp):
            return self.clamp
        return value if value == unlimited or value > self.floor >= 0 else self.floor

    def get(self, number: int) -> tuple[int, int]:
        """Return what was set."""
        return self.now[number]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Replace the limits of this very process by a fake."""
    fake = FakeKernel()
    monkeypatch.setattr(resource, "setrlimit", fake.set)
    monkeypatch.setattr(resource, "getrlimit", fake.get)
    return fake


def test_limits_are_set_as_written(kernel: FakeKernel) -> None:
    """Each limit reaches the kernel under its number."""
    set_rlimits((Rlimit("RLIMIT_NOFILE", 1024, 4096), Rlimit("RLIMIT_CORE", 0, 0)), NUMBERS)

    assert kernel.now == {resource.RLIMIT_NOFILE: (1024, 4096), resource.RLIMIT_CORE: (0, 0)}


@pytest.mark.parametrize("endless", [-1, 2**63 - 1, 2**64 - 1])
def test_every_spelling_of_unlimited_is_infinity(kernel: FakeKernel, endless: int) -> None:
    """runtime-spec writes unlimited as 2**64-1, which overflows the system call."""
    set_rlimits((Rlimit("RLIMIT_CORE", endless, endless),), NUMBERS)

    assert kernel.now[resource.RLIMIT_CORE] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_a_limit_the_system_does_not_have_is_named() -> None:
    """RLIMIT_NICE means nothing on FreeBSD: error, not silence."""
    with pytest.raises(HostError, match="RLIMIT_NICE: this system has no such limit"):
        set_rlimits((Rlimit("RLIMIT_NICE", 1, 1),), NUMBERS)


@pytest.mark.parametrize("asked", [2**20, -1])
def test_what_the_kernel_lowers_is_accepted(kernel: FakeKernel, asked: int) -> None:
    """FreeBSD lowers NOFILE to kern.maxfilesperproc and says success; podman asks for 2**20 by default."""
    kernel.clamp = 175428

    set_rlimits((Rlimit("RLIMIT_NOFILE", asked, asked),), NUMBERS)

    assert kernel.now[resource.RLIMIT_NOFILE] == (175428, 175428)


@pytest.mark.parametrize("raised", [1, resource.RLIM_INFINITY])
def test_a_limit_that_the_kernel_raises_is_an_error(kernel: FakeKernel, raised: int) -> None:
    """FreeBSD makes an NPROC of 0 a 1; a limit must never be weaker than the one that was asked for."""
    kernel.floor = raised
    made = "unlimited:unlimited" if raised == resource.RLIM_INFINITY else f"{raised}:{raised}"

    with pytest.raises(HostError, match=f"set RLIMIT_NOFILE to 0:0: the kernel made it {made}$"):
        set_rlimits((Rlimit("RLIMIT_NOFILE", 0, 0),), NUMBERS)


@pytest.mark.parametrize("refusal", [OSError(1, "Operation not permitted"), ValueError("not allowed to raise")])
def test_a_refused_limit_is_named(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """Whatever Python makes of the errno, the type is in the text."""

    def refuse(number: int, limits: tuple[int, int]) -> None:
        raise refusal

    monkeypatch.setattr(resource, "setrlimit", refuse)

    with pytest.raises(HostError, match=r"^set RLIMIT_NOFILE( to 1:1)?: "):
        set_rlimits((Rlimit("RLIMIT_NOFILE", 1, 1),), NUMBERS)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Record the identity calls instead of making them."""
    made: list[tuple[str, object]] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: made.append((name, value)))
    return made


def test_ids_are_set_groups_first_user_last(calls: list[tuple[str, object]]) -> None:
    """After setuid nothing else would be allowed."""
    set_ids(User(1000, 100, additional_gids=(5, 6)))

    assert calls == [("setgroups", [100, 5, 6]), ("setgid", 100), ("setuid", 1000)]


def test_no_groups_still_drops_those_of_root(calls: list[tuple[str, object]]) -> None:
    """An absent list must not mean "keep wheel and operator"."""
    set_ids(User(1000, 100))

    assert calls[0] == ("setgroups", [100])


@pytest.mark.parametrize("groups", [(5,), (5, 100), (100, 5, 5)])
def test_the_primary_group_is_a_supplementary_one_on_every_kernel(
    calls: list[tuple[str, object]], groups: tuple[int, ...]
) -> None:
    """Before FreeBSD 15 element 0 becomes the effective group, and setgid overwrites it: the rest stays."""
    set_ids(User(1000, 100, additional_gids=groups), effective_first=True)

    assert calls[0][0] == "setgroups"
    first, *supplementary = calls[0][1]  # type: ignore[misc]
    assert first == 100
    assert sorted(supplementary) == [5, 100]


@pytest.mark.parametrize("user", [User(NOBODY_AT_ALL), User(0, NOBODY_AT_ALL), User(0, 0, None, (NOBODY_AT_ALL,))])
def test_the_id_that_is_no_id_is_refused(calls: list[tuple[str, object]], user: User) -> None:
    """setuid(2**32-1) succeeds and leaves uid -1."""
    with pytest.raises(HostError, match="4294967295 is no user and no group"):
        set_ids(user)

    assert calls == []


@pytest.mark.parametrize("refusal", [PermissionError(1, "Operation not permitted"), ValueError("too many groups")])
def test_refused_ids_are_one_clear_error(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """The child reports which identity it could not take."""

    def refuse(groups: list[int]) -> None:
        raise refusal

    monkeypatch.setattr(os, "setgroups", refuse)

    with pytest.raises(HostError, match=r"^become user 1:2: "):
        set_ids(User(1, 2))


@pytest.mark.parametrize(("have", "enough"), [([0], True), ([0, 0], True), ([0, 5], False), ([], False)])
def test_who_may_not_set_groups_and_has_them_goes_on(
    calls: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch, have: list[int], enough: bool
) -> None:
    """Root in a jail without allow.suser."""

    def refuse(groups: list[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setgroups", refuse)
    monkeypatch.setattr(os, "getgroups", lambda: have)

    if enough:
        set_ids(User(0, 0), effective_first=True)
        assert calls == [("setgid", 0), ("setuid", 0)]
    else:
        with pytest.raises(HostError, match=r"^become user 0:0: not allowed"):
            set_ids(User(0, 0), effective_first=True)
        assert calls == []
