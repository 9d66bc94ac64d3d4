"""Addresses and interfaces: only what we changed is changed back."""

import pytest

from runjail.errors import HostError
from runjail.host.programs import Result
from runjail.steps import AddressAlias, Loopback, MoveInterface
from tests.support.host.machine import Machine


def changes(machine: Machine) -> list[list[str]]:
    """Return the ifconfig calls that are more than a look."""
    return [call[1:] for call in machine.programs.calls if len(call) > 3]


@pytest.mark.parametrize(("family", "address"), [("inet", "10.9.9.9/32"), ("inet6", "fd00::5/64")])
def test_an_alias_is_added_and_taken_off(machine: Machine, family: str, address: str) -> None:
    bare = address.partition("/")[0]

    machine.apply(AddressAlias("lo0", family, address))
    assert machine.kinds() == ["alias"]
    machine.undo()

    assert changes(machine) == [["lo0", family, address, "alias"], ["lo0", family, bare, "-alias"]]
    assert len(machine.programs.interfaces["lo0"]) == 3


@pytest.mark.parametrize(
    ("family", "address"), [("inet", "127.0.0.1/8"), ("inet6", "0::1/128"), ("inet6", "fe80:0::1/64")]
)
def test_an_address_that_was_there_is_not_ours(machine: Machine, family: str, address: str) -> None:
    """However it is spelled: taking off 127.0.0.1 at delete would break the host."""
    machine.apply(AddressAlias("lo0", family, address))

    assert (machine.notes, changes(machine)) == ([], [])


def test_an_alias_on_nothing_is_an_error(machine: Machine) -> None:
    with pytest.raises(HostError, match=r"/sbin/ifconfig nosuch0 inet returned 1: .* nosuch0 does not exist"):
        machine.apply(AddressAlias("nosuch0", "inet", "10.9.9.9/32"))

    assert machine.notes == []


def test_an_alias_that_is_gone_is_success(machine: Machine) -> None:
    machine.apply(AddressAlias("lo0", "inet", "10.9.9.9/32"))
    machine.undo()
    machine.undo()
    del machine.programs.interfaces["lo0"]
    machine.undo()

    assert len(changes(machine)) == 2


def test_words_that_are_no_addresses_are_no_match(machine: Machine) -> None:
    machine.programs.interfaces["tun0"] = ["inet 10.0.0.1 --> 10.0.0.2 netmask 0xff", "inet any"]

    machine.apply(AddressAlias("tun0", "inet", "10.0.0.2/32"))

    assert machine.kinds() == ["alias"]


def test_an_interface_moves_in_and_comes_back(machine: Machine) -> None:
    machine.programs.interfaces["epair0b"] = []
    machine.add_jail(7)

    machine.apply(MoveInterface("epair0b"))
    assert machine.programs.inside == {"epair0b": 7}
    machine.undo()

    assert machine.programs.inside == {}
    assert changes(machine) == [["epair0b", "vnet", "7"], ["epair0b", "-vnet", "7"]]


def test_an_interface_that_does_not_come_back_is_success(machine: Machine) -> None:
    """It was renamed or destroyed, or the jail is gone: the kernel returns it, or nobody can."""
    machine.programs.interfaces["epair0b"] = []
    machine.add_jail(7)
    machine.apply(MoveInterface("epair0b"))
    machine.programs.answers["/sbin/ifconfig"] = Result(1, b"", b"ifconfig: jail 7 is dying\n")

    machine.undo()


def test_a_jid_of_another_boot_is_not_ours(machine: Machine) -> None:
    machine.programs.interfaces["epair0b"] = []
    machine.add_jail(7)
    machine.apply(MoveInterface("epair0b"))
    machine.reboot()

    machine.undo()

    assert machine.programs.inside == {"epair0b": 7}


def test_a_missing_interface_is_an_error(machine: Machine) -> None:
    machine.add_jail(7)

    with pytest.raises(HostError, match=r"/sbin/ifconfig nosuch0 vnet 7 returned 1: .* does not exist"):
        machine.apply(MoveInterface("nosuch0"))


def test_the_loopback_is_raised_inside(machine: Machine) -> None:
    machine.add_jail(7)

    machine.apply(Loopback())

    assert machine.programs.calls == [["/sbin/ifconfig", "-j", "7", "lo0", "inet", "127.0.0.1/8", "up"]]
