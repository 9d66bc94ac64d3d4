"""Profiles as programs: what they answer, run on a machine of Python, and how they are kept."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import HostError
from runjail.spec.model import Seccomp, SeccompRule
from tests.support.host import filter_machine
from tests.support.host.filter_machine import ALLOW, ERRNO, KILL_PROCESS, X86_64

if sys.platform != "linux":  # whose libc it calls
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import libseccomp, newer_calls, seccomp_profile

pytestmark = [
    pytest.mark.needs("libseccomp"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64's system calls"),
]

EPERM, EACCES, ENOSYS = 1, 13, 38
READ, WRITE, OPEN, MKDIR, SOCKET, CLONE, NEWEST = 0, 1, 2, 83, 41, 56, 100_000
NAMES = {"read": READ, "write": WRITE, "open": OPEN, "mkdir": MKDIR, "socket": SOCKET}
X32_BIT = 0x40000000


def program(default: str, *rules: SeccompRule, errno: int | None = None, architectures: tuple[str, ...] = ()) -> bytes:
    return libseccomp.compile_profile(Seccomp(default, errno, architectures, (), rules))


def test_what_is_named_is_allowed_and_all_else_refused() -> None:
    made = program("SCMP_ACT_ERRNO", SeccompRule(("read", "open", "no_such_call"), "SCMP_ACT_ALLOW"))

    assert filter_machine.run(made, READ) == filter_machine.run(made, OPEN) == ALLOW
    assert filter_machine.run(made, WRITE) == ERRNO | EPERM


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (SeccompRule(("mkdir",), "SCMP_ACT_ERRNO"), ERRNO | EPERM),
        (SeccompRule(("mkdir",), "SCMP_ACT_ERRNO", EACCES), ERRNO | EACCES),
        (SeccompRule(("mkdir",), "SCMP_ACT_KILL"), 0),
        (SeccompRule(("mkdir",), "SCMP_ACT_KILL_PROCESS"), KILL_PROCESS),
        (SeccompRule(("mkdir",), "SCMP_ACT_LOG"), 0x7FFC0000),
        (SeccompRule(("mkdir",), "SCMP_ACT_TRAP"), 0x00030000),
        (SeccompRule(("mkdir",), "SCMP_ACT_TRACE", 7), 0x7FF00007),
        (SeccompRule(("mkdir",), "SCMP_ACT_ALLOW"), ALLOW),
    ],
)
def test_actions(rule: SeccompRule, answer: int) -> None:
    made = program("SCMP_ACT_ALLOW", rule)

    assert filter_machine.run(made, MKDIR) == answer
    assert filter_machine.run(made, READ) == ALLOW


@pytest.mark.parametrize(
    ("op", "value", "second", "holds", "fails"),
    [
        ("SCMP_CMP_EQ", 1 << 40, 0, [1 << 40], [0, 1, (1 << 40) + 1]),
        ("SCMP_CMP_NE", 5, 0, [4, 1 << 63], [5]),
        ("SCMP_CMP_LT", 1 << 33, 0, [0, 1 << 32], [1 << 33, 1 << 34]),
        ("SCMP_CMP_LE", 7, 0, [0, 7], [8, 1 << 32]),
        ("SCMP_CMP_GT", 7, 0, [8, 1 << 32], [7, 0]),
        ("SCMP_CMP_GE", 7, 0, [7, 1 << 32], [6]),
        ("SCMP_CMP_MASKED_EQ", 0x7E020000, 0, [0x11, 0x80000000], [0x02000000, 0x20000]),
    ],
)
def test_conditions_on_arguments(op: str, value: int, second: int, holds: list[int], fails: list[int]) -> None:
    rule = SeccompRule(("clone",), "SCMP_ACT_ALLOW", None, ((0, value, second, op),))
    made = program("SCMP_ACT_ERRNO", rule)

    assert {filter_machine.run(made, CLONE, (argument,)) for argument in holds} == {ALLOW}
    assert {filter_machine.run(made, CLONE, (argument,)) for argument in fails} == {ERRNO | EPERM}


def test_conditions_on_two_arguments_hold_together_and_those_on_one_are_alternatives() -> None:
    """As runc adds them; libseccomp takes each argument once a rule."""
    together = ((0, 2, 0, "SCMP_CMP_EQ"), (1, 3, 0, "SCMP_CMP_EQ"))
    either = ((0, 2, 0, "SCMP_CMP_EQ"), (0, 3, 0, "SCMP_CMP_EQ"))

    both = program("SCMP_ACT_ERRNO", SeccompRule(("socket",), "SCMP_ACT_ALLOW", None, together))
    one = program("SCMP_ACT_ERRNO", SeccompRule(("socket",), "SCMP_ACT_ALLOW", None, either))

    assert [filter_machine.run(both, SOCKET, args) == ALLOW for args in ((2, 3), (2, 4), (3, 3))] == [
        True,
        False,
        False,
    ]
    assert [filter_machine.run(one, SOCKET, args) == ALLOW for args in ((2,), (3,), (4,))] == [True, True, False]


def test_calls_that_are_newer_than_the_profile_do_not_exist() -> None:
    """What libc tries and does without must not look forbidden."""
    made = program("SCMP_ACT_ERRNO", SeccompRule(("read", "mkdir"), "SCMP_ACT_ALLOW"), errno=EACCES)

    assert filter_machine.run(made, NEWEST) == filter_machine.run(made, MKDIR + 1) == ERRNO | ENOSYS
    assert filter_machine.run(made, WRITE) == ERRNO | EACCES
    assert filter_machine.run(made, MKDIR) == ALLOW


@pytest.mark.parametrize(
    ("default", "errno"), [("SCMP_ACT_ALLOW", None), ("SCMP_ACT_LOG", None), ("SCMP_ACT_ERRNO", ENOSYS)]
)
def test_profiles_that_need_no_word_about_newer_calls(default: str, errno: int | None) -> None:
    rules = (SeccompRule(("read",), "SCMP_ACT_KILL"),)

    assert (
        newer_calls.prelude(libseccomp.Library().resolve_for, Seccomp(default, errno, (), (), rules), [X86_64]) == b""
    )


def test_other_architectures_have_rules_of_their_own() -> None:
    """i386 has other numbers; an architecture that is not named is killed, x32 by its bit."""
    rule = SeccompRule(("mkdir",), "SCMP_ACT_ALLOW")
    alone = program("SCMP_ACT_ERRNO", rule)
    both = program("SCMP_ACT_ERRNO", rule, architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"))
    i386, mkdir_i386 = 0x40000003, 39

    assert filter_machine.run(both, mkdir_i386, architecture=i386) == ALLOW
    assert filter_machine.run(alone, mkdir_i386, architecture=i386) == 0
    assert filter_machine.run(alone, MKDIR | X32_BIT) == 0
    assert filter_machine.run(both, NEWEST, architecture=i386) == ERRNO | ENOSYS


@given(
    st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]),
    st.dictionaries(
        st.sampled_from(sorted(NAMES)), st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"])
    ),
)
def test_every_named_call_gets_its_action(default: str, chosen: dict[str, str]) -> None:
    made = program(default, *(SeccompRule((name,), action, EACCES) for name, action in chosen.items()))
    codes = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO | EACCES, "SCMP_ACT_LOG": 0x7FFC0000}

    for name, action in chosen.items():
        assert filter_machine.run(made, NAMES[name]) == codes[action]


def test_a_program_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second container of a profile takes what the first one made; damage and another profile make it anew."""
    made: list[Seccomp] = []
    compile_profile = libseccomp.compile_profile
    monkeypatch.setattr(
        libseccomp, "compile_profile", lambda profile: (made.append(profile), compile_profile(profile))[1]
    )
    profile = Seccomp(
        "SCMP_ACT_ALLOW", None, (), ("SECCOMP_FILTER_FLAG_LOG",), (SeccompRule(("mkdir",), "SCMP_ACT_KILL"),)
    )
    states = [tmp_path / name for name in "abcd"]
    for state in states:
        state.mkdir()

    seccomp_profile.prepare(profile, str(states[0]))
    seccomp_profile.prepare(profile, str(states[1]))
    assert len(made) == 1
    kept = list((tmp_path / "%seccomp").iterdir())
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:-8])
    seccomp_profile.prepare(profile, str(states[2]))
    assert len(made) == 2
    seccomp_profile.prepare(profile.replace(default_errno=EACCES), str(states[3]))
    assert len(made) == 3

    first, second, third = (seccomp_profile.load(str(state)) for state in states[:3])
    assert first and second and third
    assert first.prepared == second.prepared == third.prepared
    assert (first.prepared[:4], first.has_listener) == (b"\x02\0\0\0", False)
    assert seccomp_profile.load(str(tmp_path)) is None


def test_another_library_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may know more system calls. A program that is kept takes no loading of it, where its file can be found."""
    (tmp_path / "state").mkdir()
    profile = Seccomp("SCMP_ACT_ALLOW")
    first, versions = seccomp_profile._library(), ["2.5.4", "2.6.0"]
    assert first == seccomp_profile._library()
    monkeypatch.setattr(seccomp_profile, "LIBRARY", "libelsewhere.so.2")
    monkeypatch.setattr(libseccomp, "version", lambda: versions[0])
    assert seccomp_profile._library() not in (first, "")
    for _ in range(2):
        seccomp_profile.prepare(profile, str(tmp_path / "state"))
        versions.pop(0)

    assert len(list((tmp_path / "%seccomp").iterdir())) == 2


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp_profile, "MOST_KEPT", 3)
    for errno in range(1, 9):
        seccomp_profile.prepare(Seccomp("SCMP_ACT_ERRNO", errno), str(tmp_path))

    assert 1 <= len(list((tmp_path.parent / "%seccomp").iterdir())) <= 3


def test_a_program_that_the_kernel_would_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "compile_profile", lambda profile: bytes(8 * 4097))

    with pytest.raises(HostError, match="4097 instructions, of which the kernel takes 4096"):
        seccomp_profile.prepare(Seccomp("SCMP_ACT_ALLOW"), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_a_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "LIBRARY", "libnothing.so.9")

    with pytest.raises(HostError, match=r"libnothing\.so\.9 is not installed") as caught:
        seccomp_profile.prepare(Seccomp("SCMP_ACT_ALLOW"), str(tmp_path))
    assert "libseccomp" in str(caught.value.hint)
