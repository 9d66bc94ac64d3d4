"""Names are the machine's: one id below two roots, jails of other people, and who undoes what."""

import os
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.freebsd.jails import NameTaken
from runjail.host.programs import Result
from runjail.steps import AddressAlias, CreateJail, MoveInterface, RctlRules
from tests.support.host.machine import Machine
from tests.support.host.noted import Noted

OTHER = "web~00c0ffee"
LIMITS = RctlRules("web", ("maxproc:deny=20", "memoryuse:sigkill=1048576"))
RULES = {name: [f"jail:{name}:maxproc:deny=20", f"jail:{name}:memoryuse:sigkill=1048576"] for name in ("web", OTHER)}


def jail_of(machine: Machine, other: str = OTHER) -> CreateJail:
    return CreateJail("web", (("name", "web"), ("path", str(machine.root)), ("persist", None)), other=other)


class Root(Noted):
    """One more root directory of states on the same machine, with a container of the same id and root directory."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__()
        self.host = machine.host
        state = machine.base / name
        state.mkdir()
        self.host_state = HostState("web", "web", str(state), str(machine.root), str(machine.root))


def names(machine: Machine) -> list[str]:
    return [name for name, _path in machine.kernel.jails.values()]


def test_one_id_below_two_roots(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """The second jail has a name of its own, and so have its limits; each takes back its own."""
    first, second = Root(machine, "first"), Root(machine, "second")
    first.apply(jail_of(machine), LIMITS)
    second.apply(jail_of(machine), LIMITS)

    assert names(machine) == ["web", OTHER]
    assert (first.host_state.name, second.host_state.name) == ("web", OTHER)
    assert machine.kernel.rules == RULES["web"] + RULES[OTHER]
    assert f"jail {first.host_state.jid} is called web, this one is {OTHER}" in capfd.readouterr().err
    second.undo()
    assert (names(machine), machine.kernel.rules) == (["web"], RULES["web"])
    first.undo()
    assert (names(machine), machine.kernel.rules) == ([], [])


def test_a_creation_that_fails_leaves_the_other_ones_limits_alone(machine: Machine) -> None:
    """The same id below another root runs with the very rules that this one would have had."""
    first, second = Root(machine, "first"), Root(machine, "second")
    first.apply(jail_of(machine), LIMITS)
    with pytest.raises(HostError, match=r"create jail web: jail \d+ has this name already"):
        second.apply(jail_of(machine, other=""), LIMITS)
    second.undo()

    assert second.notes == []
    assert (names(machine), machine.kernel.rules) == (["web"], RULES["web"])


def test_a_stranger_takes_the_name_while_jail_works(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know our lock, and its jail has the same name and root: our note does not lead to it."""
    root = Root(machine, "root")

    def taken(argv: list[str], **_more: Any) -> Result:
        machine.kernel.jails[9] = ("web", os.path.realpath(machine.root))
        return Result(1, b"", b'jail: "9" already exists\n')

    monkeypatch.setattr("runjail.host.programs.run", taken)
    with pytest.raises(NameTaken, match="create jail web: a jail of this name exists already"):
        root.apply(jail_of(machine))
    root.undo()
    root.host.kill_all(root.host_state, 9)

    assert names(machine) == ["web"]


def test_limits_of_a_name_that_another_jail_has_by_now(machine: Machine) -> None:
    """Ours was removed by somebody; the next one of the name has the same rules, and keeps them."""
    first, second = Root(machine, "first"), Root(machine, "second")
    first.apply(jail_of(machine), LIMITS)
    machine.kernel.jails = {5000: ("unrelated", "/")}
    second.apply(jail_of(machine), LIMITS)
    assert second.host_state.name == "web"
    first.undo()

    assert names(machine) == ["unrelated", "web"]
    assert set(machine.kernel.rules) == set(RULES["web"])


def test_limits_of_a_jail_that_is_gone_go(machine: Machine) -> None:
    root = Root(machine, "root")
    root.apply(jail_of(machine), LIMITS)
    machine.kernel.jails.clear()
    root.undo()

    assert machine.kernel.rules == []


def test_an_interface_of_a_jail_that_is_gone_is_not_fetched_from_the_next(machine: Machine) -> None:
    """A jid may be used again: `ifconfig epair0b -vnet 1` would then fetch somebody else's."""
    root = Root(machine, "root")
    machine.programs.interfaces["epair0b"] = []
    root.apply(jail_of(machine), MoveInterface("epair0b"))
    machine.kernel.jails[root.host_state.jid] = ("other", "/elsewhere")
    machine.programs.calls.clear()
    root.undo()

    assert [call for call in machine.programs.calls if "-vnet" in call] == []


def test_the_lock_of_names_is_lent_to_the_program(machine: Machine, tmp_path: Path, monkeypatch: Any) -> None:
    """A runjail that is killed while jail(8) works lets no other one look before jail(8) is done."""
    from runjail.host import programs

    seen: list[list[int]] = []
    real = programs.run

    def run(argv: list[str], **more: Any) -> Result:
        seen.append([os.fstat(number).st_ino for number in programs.HELD])
        return real(argv, **more)

    monkeypatch.setattr(programs, "run", run)
    Root(machine, "root").apply(jail_of(machine), AddressAlias("lo0", "inet", "10.0.0.5/32"))

    assert (tmp_path / "runjail-jails.lock").stat().st_ino in seen[0]
    assert not programs.HELD
