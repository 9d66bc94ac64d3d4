"""Addresses, interfaces and network stacks of a jail on a real FreeBSD: what is promised works, what is denied fails,
and what was given is the host's again, also when everything was killed.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable

import pytest

from runjail.errors import HostError
from runjail.steps import AddressAlias, Loopback, MoveInterface
from tests.support.container.harness import Life, until
from tests.support.freebsd.real import Real, tool

pytestmark = pytest.mark.freebsd
Kill = Callable[[Life, "subprocess.Popen[bytes]"], None]
ID = f"rjlife{os.getpid()}"  # whose jail has this name, whatever else this machine runs


def interfaces() -> list[str]:
    """Return the names of the host's interfaces."""
    return tool("ifconfig", "-l").split()


# Steps ----------------------------------------------------------------------------------------------------------------


def test_aliases(real: Real) -> None:
    before = tool("ifconfig", "lo0")
    real.apply(AddressAlias("lo0", "inet", "10.77.77.1/32"), AddressAlias("lo0", "inet6", "fd77::1/128"))
    real.apply(AddressAlias("lo0", "inet", "127.0.0.1/8"), AddressAlias("lo0", "inet6", "::1/128"))
    assert [note["address"] for note in real.notes] == ["10.77.77.1/32", "fd77::1/128"]
    assert "inet 10.77.77.1 netmask 0xffffffff" in tool("ifconfig", "lo0")
    real.create(("ip4.addr", "10.77.77.1"), ("ip6.addr", "fd77::1"))
    real.undo()
    real.undo()

    assert tool("ifconfig", "lo0") == before
    with pytest.raises(HostError, match="interface nosuch0 does not exist"):
        real.apply(AddressAlias("nosuch0", "inet", "10.77.77.1/32"))


def test_an_own_network_stack(real: Real, epair: tuple[str, str]) -> None:
    real.create(("vnet", "new"))
    real.apply(MoveInterface(epair[1]), Loopback())
    inside = tool("ifconfig", "-j", real.name)
    assert "inet 127.0.0.1" in inside
    assert epair[1] in inside

    real.undo()
    assert epair[1] in interfaces()
    real.undo()
    with pytest.raises(HostError, match="interface nosuch0 does not exist"):
        real.apply(MoveInterface("nosuch0"))


# Containers -----------------------------------------------------------------------------------------------------------


def answers(address: str) -> bool:
    """Whether ping gets an answer within a second or two."""
    program = "ping6" if ":" in address and os.path.exists("/sbin/ping6") else "ping"
    ping = [program, "-c", "1", "-t", "5", address]
    return subprocess.run(ping, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("family", "host", "jail"), [("inet", "10.77.1.1", "10.77.1.2"), ("inet6", "fd77:1::1", "fd77:1::2")]
)
def test_a_stack_of_its_own_answers_over_an_epair(
    real: Real, epair: tuple[str, str], family: str, host: str, jail: str
) -> None:
    length = "24" if family == "inet" else "64"
    options = ["no_dad"] if family == "inet6" else []
    tool("ifconfig", epair[0], family, f"{host}/{length}", *options, "up")
    real.build(freebsd={"jail": {"vnet": "new", "vnetInterfaces": [epair[1]]}})
    tool("ifconfig", "-j", real.name, epair[1], family, f"{jail}/{length}", *options, "up")

    assert answers(jail)
    assert "inet 127.0.0.1" in tool("ifconfig", "-j", real.name, "lo0")
    real.undo()
    assert not answers(jail)
    assert epair[1] in interfaces(), "it came back"


def test_two_stacks_on_a_bridge_reach_each_other(real: Real, epair: tuple[str, str]) -> None:
    bridge = tool("ifconfig", "bridge", "create").strip()
    try:
        tool("ifconfig", bridge, "inet", "10.77.2.1/24", "addm", epair[0], "up")
        tool("ifconfig", epair[0], "up")
        real.build(freebsd={"jail": {"vnet": "new", "vnetInterfaces": [epair[1]]}})
        tool("ifconfig", "-j", real.name, epair[1], "inet", "10.77.2.2/24", "up")

        assert answers("10.77.2.2")
        real.undo()
    finally:
        tool("ifconfig", bridge, "destroy")


def test_an_interface_that_is_gone_is_no_obstacle_to_deletion(real: Real) -> None:
    host = tool("ifconfig", "epair", "create").strip()
    real.build(freebsd={"jail": {"vnet": "new", "vnetInterfaces": [f"{host[:-1]}b"]}})
    tool("ifconfig", host, "destroy")

    real.undo()

    assert real.libc.jail(real.name) is None


def bound(address: str, family: int = socket.AF_INET) -> Callable[[], object]:
    """Return work that binds a socket and says to what."""

    def bind() -> object:
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.bind((address, 0))
            return made.getsockname()[0]

    return bind


@pytest.mark.parametrize(
    ("section", "address", "said"),
    [
        ({"ip4Addr": ["127.0.0.1"]}, "0.0.0.0", "127.0.0.1"),
        ({"interface": "lo0", "ip4Addr": ["10.77.77.5/32"]}, "127.0.0.1", "10.77.77.5"),
        ({"ip4Addr": ["127.0.0.1"]}, "10.0.2.15", "OSError"),
        ({"ip4": "disable"}, "127.0.0.1", "OSError"),
        ({}, "0.0.0.0", "0.0.0.0"),
    ],
    ids=lambda value: str(value),
)
def test_addresses_that_it_may_use(real: Real, section: dict[str, object], address: str, said: str) -> None:
    real.build(freebsd={"jail": section})

    assert real.inside(bound(address)).startswith(said)


def test_an_address_that_was_there_stays(real: Real) -> None:
    tool("ifconfig", "lo0", "inet", "10.77.77.6/32", "alias")
    try:
        real.build(freebsd={"jail": {"interface": "lo0", "ip4Addr": ["10.77.77.6/32"]}})
        real.undo()
        assert "inet 10.77.77.6 " in tool("ifconfig", "lo0")
    finally:
        tool("ifconfig", "lo0", "inet", "10.77.77.6", "-alias")


@pytest.mark.parametrize("allowed", [True, False])
def test_raw_sockets(real: Real, allowed: bool) -> None:
    real.build(freebsd={"jail": {"allow": {"rawSockets": allowed}}})

    def opened() -> object:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
            return "opened"

    assert (real.inside(opened) == "opened") is allowed


@pytest.mark.parametrize("allowed", [True, False])
def test_the_hostname(real: Real, allowed: bool) -> None:
    before = os.uname().nodename
    real.build(hostname="first", freebsd={"jail": {"allow": {"setHostname": allowed}}})

    said = real.inside(lambda: socket.sethostname("second") or os.uname().nodename)

    assert (said == "second") is allowed
    assert real.jls("host.hostname") == ("second" if allowed else "first")
    assert os.uname().nodename == before


# Everything killed ----------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Return the names of this machine's jails, those that die included."""
    return tool("jls", "-d", "name").split()


def kill_processes(life: Life, runner: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for who watches first, then for all that is inside."""
    runner.kill()
    runner.wait()
    for pid in tool("ps", "-J", ID, "-o", "pid=").split():
        os.kill(int(pid), signal.SIGKILL)


def remove_jail(_life: Life, runner: "subprocess.Popen[bytes]") -> None:
    """What jail(8) does by hand, or the service jail without a list."""
    runner.kill()
    runner.wait()
    tool("jail", "-R", ID)


@pytest.mark.parametrize("kill", [kill_processes, remove_jail])
def test_interfaces_are_given_back_when_everything_is_killed(life: Life, epair: tuple[str, str], kill: Kill) -> None:
    """A foreground run and all that it made: delete finds the rest, and the interface is the host's again."""
    life.bundle.config["freebsd"] = {"jail": {"vnet": "new", "vnetInterfaces": [epair[1]]}}
    life.bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    before = tool("devfs", "rule", "showsets")
    command = [life.runjail.program, "--root", str(life.runjail.root), "run", "-b", life.bundle.write(), ID]
    runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: life.runjail("state", ID).returncode == 0 and life.runjail.state(ID)["status"] == "running")
    assert epair[1] not in interfaces()

    kill(life, runner)
    life.runjail.wait(ID)
    life.runjail.ok("delete", ID)

    life.gone(ID)
    until(lambda: epair[1] in interfaces() and ID not in names())
    assert str(life.path) not in tool("mount", "-p")
    assert tool("devfs", "rule", "showsets") == before
