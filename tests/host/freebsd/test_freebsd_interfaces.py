"""What interfaces have moved: netstat(1) inside of network stacks that are a container's own, and nowhere else."""

import errno

import pytest

from runjail.host.programs import Result
from tests.support.host.machine import Machine

NETSTAT = "/usr/bin/netstat"
# `netstat -j JAIL -ibdnW -f link` on FreeBSD 15.1; the two last lines: without an address, and down
SHOWN = """\
Name      Mtu Network   Address              Ipkts Ierrs Idrop     Ibytes    Opkts Oerrs     Obytes  Coll  Drop
lo0     16384 <Link#3>  lo0                      9     0     0        900        9     0        900     0     0 
epair0b  1500 <Link#5>  58:9c:fc:10:c5:19        4     0     2        280        3     1        238     0     5 
gif0     1280 <Link#6>                           1     -     0         20        0     0          0     0     0 
tap0*    1500 <Link#7>  58:9c:fc:10:c5:20        0     0     0          0        0     0          0     0     0 
"""  # noqa: W291  # as it is printed
EPAIR = {
    "Name": "epair0b",
    "RxBytes": 280,
    "RxPackets": 4,
    "RxErrors": 0,
    "RxDropped": 2,
    "TxBytes": 238,
    "TxPackets": 3,
    "TxErrors": 1,
    "TxDropped": 5,
}


@pytest.fixture
def vnet(machine: Machine) -> Machine:
    """A machine whose container has a network stack of its own."""
    machine.add_jail(7)
    machine.kernel.vnets = {"web"}
    machine.programs.answers[NETSTAT] = Result(0, SHOWN.encode())
    return machine


def test_each_interface_is_counted_by_runcs_names(vnet: Machine) -> None:
    rows = vnet.host.usage(vnet.host_state)["network_interfaces"]

    assert rows[0] == EPAIR
    assert [(row["Name"], row["RxBytes"], row["RxErrors"]) for row in rows[1:]] == [("gif0", 20, 0), ("tap0", 0, 0)]
    assert vnet.programs.calls == [[NETSTAT, "-j", "7", "-ibdnW", "-f", "link"]]
    assert vnet.host.networks().traffic(vnet.host_state) == (300, 238)


def test_the_hosts_network_is_not_the_containers(vnet: Machine) -> None:
    vnet.kernel.vnets = set()

    assert vnet.host.usage(vnet.host_state)["network_interfaces"] is None
    assert vnet.host.networks().traffic(vnet.host_state) is None
    assert vnet.programs.calls == []


def test_a_kernel_without_such_stacks_has_none(vnet: Machine) -> None:
    vnet.kernel.vnets = None

    assert vnet.host.usage(vnet.host_state)["network_interfaces"] is None


def test_the_stack_of_the_jail_that_holds_it_is_its_own(vnet: Machine) -> None:
    """As that of `run --network`, and of a pod."""
    vnet.kernel.vnets = {"vnet-1"}
    vnet.kernel.jails = {6: ("vnet-1", "/"), 7: ("vnet-1.web", vnet.kernel.jails[7][1])}
    vnet.host_state.name = "vnet-1.web"

    assert vnet.host.usage(vnet.host_state)["network_interfaces"][0] == EPAIR


@pytest.mark.parametrize("answer", [OSError(errno.ENOENT, "No such file"), Result(1, b"", b"netstat: no such jail\n")])
def test_numbers_that_cannot_be_had_are_left_out(vnet: Machine, answer: Result | OSError) -> None:
    """The package of netstat(1) may be missing, and a container end at any moment: the other numbers stay."""
    vnet.programs.answers[NETSTAT] = answer

    usage = vnet.host.usage(vnet.host_state)

    assert usage["network_interfaces"] is None
    assert usage["pids"] == {"current": 0, "limit": 0}
