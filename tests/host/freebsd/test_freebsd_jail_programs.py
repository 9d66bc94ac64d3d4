"""What a jail gets beside its parameters: ZFS datasets of its own, and a kernel that runs Linux programs."""

import struct

import pytest

from runjail.errors import HostError
from runjail.steps import JailDataset, LinuxPrograms
from tests.support.host.machine import Machine, step

# Datasets -------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_given_and_taken_back(machine: Machine) -> None:
    machine.apply(step(machine))
    machine.apply(JailDataset("tank/data"))
    assert machine.programs.jailed == {"tank/data": machine.host_state.jid}

    machine.undo()

    assert machine.programs.jailed == {}
    assert machine.kinds() == ["jail", "jail", "dataset"]


def test_a_dataset_that_the_host_mounts_itself_is_refused(machine: Machine) -> None:
    machine.apply(step(machine))

    with pytest.raises(HostError, match="give dataset tank/plain to jail web: its property jailed is off") as caught:
        machine.apply(JailDataset("tank/plain"))

    assert caught.value.hint == "zfs set jailed=on tank/plain"
    assert machine.kinds() == ["jail", "jail"]


def test_a_dataset_that_is_not_there_or_belongs_to_another_jail(machine: Machine) -> None:
    machine.apply(step(machine))
    with pytest.raises(HostError, match="cannot open 'tank/none': dataset does not exist"):
        machine.apply(JailDataset("tank/none"))

    machine.programs.jailed["tank/data"] = 3
    with pytest.raises(HostError, match=r"give dataset tank/data to jail web: cannot jail .*: dataset already exists"):
        machine.apply(JailDataset("tank/data"))


def test_a_dataset_of_a_jail_that_is_gone_needs_nothing(machine: Machine) -> None:
    machine.apply(step(machine))
    machine.apply(JailDataset("tank/data"))
    machine.kernel.jails.clear()
    machine.programs.calls.clear()

    machine.undo()

    assert machine.programs.calls == []


# Linux programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", [None, 0, 1])
def test_linux_programs_need_their_module(machine: Machine, feature: int | None) -> None:
    if feature is not None:
        machine.kernel.sysctls["kern.features.linux64"] = struct.pack("i", feature)
    if feature:
        machine.apply(LinuxPrograms())
        return
    with pytest.raises(HostError, match="run Linux programs: the kernel module linux64 is not loaded") as caught:
        machine.apply(LinuxPrograms())
    assert caught.value.hint == "sysrc linux_enable=YES && service linux start"
