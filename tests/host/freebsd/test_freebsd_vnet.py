"""A network stack for CNI's plugins: a jail of its own, and only what is ours is taken back."""

import pytest

from runjail.errors import HostError
from runjail.host.programs import Result
from tests.support.host.machine import Machine


def make(machine: Machine) -> str:
    """Make a network, as attach does; return its name."""
    networks = machine.host.networks()
    name = networks.name(str(machine.state))
    networks.make(name, machine.host_state, machine.notes.append)
    return name


def test_a_jail_is_made_and_removed(machine: Machine) -> None:
    name = make(machine)

    (made,) = [call for call in machine.programs.calls if call[0].endswith("/jail")]
    assert {f"name={name}", "vnet=new", "persist", "children.max=999", "enforce_statfs=0"} <= set(made)
    assert machine.kinds() == ["netns"]
    assert machine.host.networks().has(name)
    machine.undo()
    machine.undo()

    assert not machine.host.networks().has(name)


def test_lo0_comes_up(machine: Machine) -> None:
    make(machine)

    assert machine.programs.calls[-1][1:2] + machine.programs.calls[-1][3:] == [
        "-j",
        "lo0",
        "inet",
        "127.0.0.1/8",
        "up",
    ]


def test_nobody_else_has_its_name(machine: Machine) -> None:
    assert make(machine) != make(machine)


def test_the_way_back_is_noted_first(machine: Machine) -> None:
    machine.programs.answers["/usr/sbin/jail"] = Result(1, b"", b"jail: vnet jails not allowed")

    with pytest.raises(HostError, match=r"create jail vnet-[0-9a-f]{12}: vnet jails not allowed"):
        make(machine)
    assert machine.kinds() == ["netns"]
    machine.undo()


def test_after_a_boot_there_is_nothing_to_remove(machine: Machine) -> None:
    """What has the name by then is not ours."""
    name = make(machine)
    machine.reboot()
    machine.undo()

    assert machine.host.networks().has(name)


@pytest.mark.parametrize(
    ("shown", "expected", "destroyed"),
    [
        (Result(1, b"", b"ifconfig: interface cni-web does not exist"), True, False),
        (Result(0, b"cni-web: flags=8843\n\tid 00:00\n\tmember: epair0a flags=143\n"), False, False),
        (Result(0, b"cni-web: flags=8843\n\tid 00:00\n"), True, True),
    ],
)
def test_a_bridge_goes_when_nobody_is_on_it(machine: Machine, shown: Result, expected: bool, destroyed: bool) -> None:
    machine.programs.answers["/sbin/ifconfig"] = shown

    assert machine.host.networks().remove_bridge("cni-web") is expected
    assert (["/sbin/ifconfig", "cni-web", "destroy"] in machine.programs.calls) is destroyed
