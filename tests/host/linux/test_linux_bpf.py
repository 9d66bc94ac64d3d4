"""The device programs of cgroup v2 answer as the rules in config.json say, in listed order."""

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runjail.plan.device_rules import ANY, USUAL, policy
from runjail.spec.model import DeviceRule
from tests.support.host import bpf_machine

if sys.platform != "linux":  # whose libc it calls
    pytest.skip("needs Linux", allow_module_level=True)

from runjail.host.linux import bpf

NUMBERS = st.sampled_from([ANY, 0, 1, 3, 5])
ASKED = st.sampled_from([0, 1, 3, 5, 7])
ACCESS = st.sampled_from(["r", "w", "m", "rw", "rwm", "wm"])
RULES = st.lists(
    st.builds(DeviceRule, st.booleans(), st.sampled_from(["a", "b", "c"]), NUMBERS, NUMBERS, ACCESS), max_size=6
)


def said(rules: list[DeviceRule], kind: str, major: int, minor: int, letter: str) -> bool:
    """Return whether a device may be used in one way: the last rule that speaks of it decides, then what is usual."""
    allowed, everything = False, False
    for rule in rules:
        if (rule.type, rule.major, rule.minor, set(rule.access)) == ("a", ANY, ANY, set("rwm")):
            everything = rule.allow
        if rule.type in ("a", kind) and rule.major in (ANY, major) and rule.minor in (ANY, minor):
            allowed = rule.allow if letter in rule.access else allowed
    usual = any(
        letter in access and kind == a and number in (ANY, major) and second in (ANY, minor)
        for a, number, second, access in USUAL
    )
    return allowed or (usual and not everything)


@given(RULES, st.sampled_from(["b", "c"]), ASKED, ASKED)
def test_the_program_answers_as_the_rules_say(rules: list[DeviceRule], kind: str, major: int, minor: int) -> None:
    problems: list[str] = []
    made = policy(rules, (), problems)
    assume(not problems)
    program = bpf.assemble(made.allow, made.rules)
    bpf_machine.check(program)
    single = {letter: bpf_machine.run(program, kind, major, minor, letter) for letter in "rwm"}

    assert single == {letter: said(rules, kind, major, minor, letter) for letter in "rwm"}
    if bpf_machine.run(program, kind, major, minor, "rw"):
        assert single["r"] and single["w"]
    elif made.allow:
        assert not (single["r"] and single["w"]), "what is wanted as a whole is forbidden, but in parts it is not"


def test_the_machine_of_the_tests_refuses_bad_programs() -> None:
    """Or it would prove nothing."""
    move, leave = struct.pack("<BBhi", 0xB7, 0, 0, 1), struct.pack("<BBhi", 0x95, 0, 0, 0)

    bpf_machine.check(move + leave)
    for bad in (move, leave + move, struct.pack("<BBhi", 0x15, 0, 5, 0) + leave):
        with pytest.raises(ValueError, match=r"out of the program|nothing leads to"):
            bpf_machine.check(bad)


@pytest.mark.parametrize("may_raise", [True, False])
def test_memory_that_counts_as_locked(monkeypatch: pytest.MonkeyPatch, may_raise: bool) -> None:
    """Kernels before 5.11 refuse the program for the limit; who may not raise that gets the refusal."""
    limits, tries = [], []

    def load(command: int, _attributes: bytes) -> int:
        tries.append(command)
        if not limits:
            raise PermissionError(1, "Operation not permitted")
        return 7

    def setrlimit(_which: int, values: tuple[int, int]) -> None:
        if not may_raise:
            raise ValueError("not allowed to raise maximum limit")
        limits.append(values)

    monkeypatch.setattr(bpf.libc, "bpf", load)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    if may_raise:
        before = resource.getrlimit(resource.RLIMIT_MEMLOCK)

        assert bpf.load(bpf.assemble(False, ())) == 7
        assert limits == [(resource.RLIM_INFINITY, resource.RLIM_INFINITY), before]
    else:
        with pytest.raises(PermissionError):
            bpf.load(bpf.assemble(False, ()))


# With the kernel ---------------------------------------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of the v2 hierarchy of this machine."""
    top = next(
        (path for path in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(f"{path}/cgroup.procs")), ""
    )
    path = Path(top) / f"runjail-test-bpf-{os.getpid()}"
    if not top or not os.access(top, os.W_OK):
        pytest.skip("needs a hierarchy of cgroup v2 that can be written")
    path.mkdir()
    yield path
    path.rmdir()


def opens(group: Path, *devices: str) -> list[bool]:
    """Return which device files a process in the group can read."""
    script = f"echo $$ > {group}/cgroup.procs; " + "".join(
        f"if (exec < {device}) 2>&-; then echo yes; else echo no; fi; " for device in devices
    )
    done = subprocess.run(["sh", "-c", script], stdin=subprocess.PIPE, capture_output=True, text=True, check=True)
    return [answer == "yes" for answer in done.stdout.split()]


@pytest.mark.linux
def test_the_kernel_takes_the_program_and_keeps_to_it(group: Path) -> None:
    """The one that is attached replaces those before it, each of which would have to allow it too."""
    for rules, answers in (
        ((), [False, False]),
        ((("c", 1, 5, "r"),), [True, False]),
        ((("c", 1, ANY, "rwm"),), [True, True]),
        ((("c", 1, 5, "m"), ("b", ANY, ANY, "rwm")), [False, False]),
    ):
        bpf.attach(str(group), bpf.assemble(False, rules))

        assert opens(group, "/dev/zero", "/dev/full") == answers, rules

    bpf.attach(str(group), bpf.assemble(True, (("c", 1, 5, "w"),)))
    assert opens(group, "/dev/zero") == [True]


@pytest.mark.linux
def test_a_thousand_rules_are_no_problem(group: Path) -> None:
    rules = tuple(("c", 200, minor, "rw") for minor in range(1000))

    bpf.attach(str(group), bpf.assemble(False, (*rules, ("c", 1, 5, "r"))))

    assert opens(group, "/dev/zero", "/dev/full") == [True, False]
