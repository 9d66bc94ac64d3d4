"""The lines of docs/freebsd.md for pf.conf(5), in a jail that is a router: the firewall of this machine stays as it is.

A jail outside, with 192.0.2.2, reaches the router at 192.0.2.1; behind that is the container, with 10.77.0.2.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.cli.sessions import file_shown
from tests.support.container.harness import Life, until
from tests.support.freebsd.real import tool

pytestmark = [pytest.mark.freebsd, pytest.mark.needs("nc", "pfctl")]

ROUTER, OUTSIDE = f"rjrouter{os.getpid()}", f"rjoutside{os.getpid()}"
ID = f"rjlife{os.getpid()}"
PAGE = "docs/freebsd.md"
# Listens, says so, and then says whom it has answered.
SERVE = """
import socket
with socket.create_server(("192.0.2.2", 9000)) as server:
    print("ready", flush=True)
    made, peer = server.accept()
    made.sendall(b"words")
    made.close()
    print(peer[0], flush=True)
"""
ASK = """
import socket
with socket.create_connection(("192.0.2.1", 8080), 1) as made:
    print(made.makefile().read())
"""


def cable() -> tuple[str, str]:
    """Make an epair and return its ends."""
    made = tool("ifconfig", "epair", "create").strip()
    return made, f"{made[:-1]}b"


def is_home(interface: str) -> bool:
    """Whether an interface is the host's, as it is again some time after its jail has gone."""
    return interface in tool("ifconfig", "-l").split()


def move(interface: str, jail: str, address: str) -> None:
    tool("ifconfig", interface, "vnet", jail)
    tool("ifconfig", "-j", jail, interface, "inet", address, "up")


@pytest.fixture
def inner() -> Iterator[str]:
    """The container's end of the cable to a router with the page's rules."""
    tool("kldload", "-n", "pf")
    (near, far), (gate, inner) = cable(), cable()
    try:
        for name in (ROUTER, OUTSIDE):
            tool("jail", "-c", f"name={name}", "path=/", "persist", "vnet=new")
        move(near, OUTSIDE, "192.0.2.2/24")
        move(far, ROUTER, "192.0.2.1/24")
        move(gate, ROUTER, "10.77.0.1/24")
        tool("jexec", ROUTER, "sysctl", "net.inet.ip.forwarding=1")
        rules = file_shown(PAGE, "nat on em0").replace("em0", far)
        command = ["jexec", ROUTER, "pfctl", "-e", "-f", "-"]
        done = subprocess.run(command, input=rules, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        yield inner
    finally:
        for name in (ROUTER, OUTSIDE):
            subprocess.run(["jail", "-R", name], capture_output=True, check=False)
        for interface in (near, gate):
            until(functools.partial(is_home, interface))
            tool("ifconfig", interface, "destroy")


@pytest.fixture
def web(life: Life, inner: str) -> Iterator[Life]:
    """A container behind the router."""
    life.bundle.config["freebsd"] = {"jail": {"vnet": "new", "vnetInterfaces": [inner]}}
    life.start("/bin/sleep", "600", id=ID)
    tool("ifconfig", "-j", ID, inner, "inet", "10.77.0.2/24", "up")
    tool("route", "-j", ID, "add", "default", "10.77.0.1")
    yield life
    life.runjail.ok("delete", "--force", ID)
    until(functools.partial(is_home, inner))


def test_the_container_speaks_with_the_routers_address(web: Life) -> None:
    command = ["jexec", OUTSIDE, sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        assert web.runjail.ok("exec", ID, "/bin/nc", "-N", "192.0.2.2", "9000").stdout == "words"
        assert server.stdout.readline() == "192.0.2.1\n"


def test_a_port_of_the_router_is_the_containers(web: Life) -> None:
    script = "while :; do echo words | nc -N -l 80; done"
    web.runjail.ok("exec", "-d", ID, "/bin/sh", "-c", script)

    def asked() -> str:
        return subprocess.run(
            ["jexec", OUTSIDE, sys.executable, "-c", ASK], capture_output=True, text=True, check=False
        ).stdout.strip()

    assert until(asked) == "words"


def test_what_its_interface_has_moved_is_told(web: Life, inner: str) -> None:
    """Of the container's own network stack, the interface of the cable and not lo0."""
    web.runjail.ok("exec", ID, "/bin/sh", "-c", "echo words | nc -w 1 10.77.0.1 9 || true")

    (row,) = json.loads(web.runjail.ok("events", "--stats", ID).stdout)["data"]["network_interfaces"]

    assert row["Name"] == inner
    assert row["TxBytes"] > 0 and row["RxBytes"] > 0
