"""devfs rulesets: an empty one shows every device, so none is mounted unseen."""

import errno
import fcntl
import os

import pytest

from runjail.errors import HostError, reason
from runjail.host.freebsd import devfs as freebsd_devfs
from runjail.host.programs import Result
from runjail.steps import Mount
from tests.support.host.fake_libc import Refusal
from tests.support.host.machine import Machine


def devfs(*rules: str, ruleset: int = 4) -> Mount:
    return Mount("devfs", "devfs", "/dev", ruleset=ruleset, rules=rules)


def mounted_ruleset(machine: Machine) -> str | None:
    (options,) = (call[1] for call in machine.kernel.calls if call[0] == "nmount")
    found: str | None = options.get("ruleset")
    return found


def test_a_loaded_ruleset_is_seen_before_it_is_mounted(machine: Machine) -> None:
    machine.apply(devfs())

    assert mounted_ruleset(machine) == "4"
    assert machine.programs.calls == [], "the kernel is asked without a program"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTTY])
def test_a_ruleset_that_cannot_be_looked_at_is_not_mounted(machine: Machine, number: int) -> None:
    """As inside a jail, or where /dev is no devfs."""
    machine.kernel.refuse["ioctl"] = Refusal(number)

    with pytest.raises(HostError, match=f"read devfs ruleset 4: .*{reason(OSError(number, os.strerror(number)))}"):
        machine.apply(devfs())

    assert machine.kernel.paths() == []


def test_a_ruleset_that_is_not_loaded_is_refused(machine: Machine) -> None:
    """The kernel would make an empty one and show /dev/mem."""
    with pytest.raises(HostError, match="devfs ruleset 99 is not loaded") as caught:
        machine.apply(devfs(ruleset=99))

    assert "service devfs restart" in str(caught.value.hint)
    assert machine.kernel.paths() == []


def test_ruleset_0_shows_everything_because_somebody_asked(machine: Machine) -> None:
    machine.apply(devfs(ruleset=0))

    assert machine.programs.calls == []
    assert mounted_ruleset(machine) is None


def test_rules_of_its_own_make_a_private_ruleset(machine: Machine) -> None:
    machine.apply(devfs("path shm unhide mode 1777"))

    mark, *rules = machine.programs.rulesets[1000]
    assert rules == [*machine.programs.rulesets[4], "path shm unhide mode 1777"]
    assert mark.startswith("path runjail-") and mark.endswith(" hide"), "it matches no device"
    assert mounted_ruleset(machine) == "1000"
    machine.undo()
    assert 1000 not in machine.programs.rulesets


def test_a_number_that_is_another_ones_by_now_stays(machine: Machine) -> None:
    """The note is written first, and may be undone twice; meanwhile a container with the same rules gets the number."""
    machine.apply(devfs("path shm unhide"))
    del machine.programs.rulesets[1000]
    ours = machine.notes.copy()
    machine.notes.clear()
    machine.apply(devfs("path shm unhide"))
    theirs = machine.programs.rulesets[1000]
    for note in ours:
        if note["undo"] == "ruleset":
            machine.host.undo(note, machine.host_state)

    assert machine.programs.rulesets[1000] == theirs
    machine.undo()
    assert 1000 not in machine.programs.rulesets


def test_a_private_ruleset_hides_what_its_base_hides(machine: Machine) -> None:
    """`include 4` shows /dev/mem: ruleset 4 hides by including 1, and includes are followed one deep only."""
    machine.apply(devfs("path shm unhide"))
    machine.programs.rulesets[2000] = ["include 4", "path shm unhide"]

    assert [machine.programs.shows(4, node) for node in ("mem", "null", "shm")] == [False, True, False]
    assert [machine.programs.shows(1000, node) for node in ("mem", "null", "shm")] == [False, True, True]
    assert machine.programs.shows(2000, "mem") is None, "what this test is about"


def test_a_ruleset_that_lost_rules_is_not_mounted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tool that picked the same number emptied it."""
    run = machine.programs.devfs

    def steal(words: list[str], input: bytes) -> Result:
        result = run(words, input)
        if words[-1] == "-":
            del machine.programs.rulesets[1000][0]
        return result

    monkeypatch.setattr(machine.programs, "devfs", steal)

    with pytest.raises(HostError, match="number 1000 does not have the rules it was given"):
        machine.apply(devfs("path shm unhide"))


def test_the_private_ruleset_is_noted_before_it_is_filled(machine: Machine) -> None:
    with pytest.raises(HostError, match="invalid mode: 448"):
        machine.apply(devfs("path a unhide", "path shm unhide mode 448"))

    assert machine.notes[0]["undo"] == "ruleset"
    assert machine.programs.rulesets[1000][-1] == "path a unhide", "a half-filled set is left so far"
    machine.undo()
    assert 1000 not in machine.programs.rulesets


def test_private_rules_on_top_of_everything_have_no_base(machine: Machine) -> None:
    machine.apply(devfs("path shm unhide", ruleset=0))

    assert machine.programs.rulesets[1000][1:] == ["path shm unhide"]


def test_a_private_ruleset_on_an_unloaded_base_is_refused(machine: Machine) -> None:
    machine.programs.rulesets[7] = []  # somebody mounted with it: it exists, and is empty

    with pytest.raises(HostError, match="devfs ruleset 7 is not loaded"):
        machine.apply(devfs("path shm unhide", ruleset=7))


def test_taken_numbers_are_left_alone(machine: Machine) -> None:
    machine.programs.rulesets |= {1000: ["hide"], 1001: ["hide"]}

    machine.apply(devfs("path shm unhide"))

    assert mounted_ruleset(machine) == "1002"


def test_no_number_is_free(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freebsd_devfs, "LAST", 1000)
    machine.programs.rulesets[1000] = ["hide"]

    with pytest.raises(HostError, match="all numbers from 1000 to 1000 are taken"):
        machine.apply(devfs("path shm unhide"))


def test_numbers_are_chosen_under_a_lock(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two creations at once would fill, and later delete, the same ruleset."""
    held: list[str] = []
    run = machine.programs.devfs

    def watch(words: list[str], input: bytes) -> Result:
        path = machine.base / "runjail-devfs.lock"
        other = os.open(path, os.O_RDWR) if path.exists() else -1
        if other >= 0:
            with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
            held.append(words[-1])
        return run(words, input)

    monkeypatch.setattr(machine.programs, "devfs", watch)

    machine.apply(devfs("path shm unhide"))

    assert held == ["showsets", "-", "show"]


def test_a_ruleset_that_is_gone_is_success(machine: Machine) -> None:
    machine.apply(devfs("path shm unhide"))
    del machine.programs.rulesets[1000]

    machine.undo()


def test_a_ruleset_of_another_boot_is_not_ours(machine: Machine) -> None:
    machine.apply(devfs("path shm unhide"))
    machine.reboot()

    machine.undo()

    assert 1000 in machine.programs.rulesets
