"""linux.netDevices: interfaces of this machine that a container gets, as runtime-spec 1.3 says it."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.container.harness import Life

pytestmark = [pytest.mark.linux, pytest.mark.needs("ip")]
NAMES = (f"rj{os.getpid() % 100000}a", f"rj{os.getpid() % 100000}b")
SHOW = "ip -o address show"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def devices(life: Life) -> Iterator[tuple[str, str]]:
    """Two ends of one cable; the first has addresses that last, and one that does not."""
    made = subprocess.run(["ip", "link", "add", NAMES[0], "type", "veth", "peer", "name", NAMES[1]], check=False)
    if made.returncode:
        pytest.skip("this kernel makes no interfaces")
    ip("link", "set", NAMES[0], "up")
    ip("address", "add", "10.77.1.2/24", "broadcast", "10.77.1.255", "dev", NAMES[0])
    ip("address", "add", "fd77::2/64", "dev", NAMES[0], "nodad")
    ip("address", "add", "10.77.1.3/32", "dev", NAMES[0], "valid_lft", "600", "preferred_lft", "600")
    ip("address", "add", "10.77.1.4/32", "scope", "link", "dev", NAMES[0])
    yield NAMES
    subprocess.run(["ip", "link", "del", NAMES[1]], capture_output=True, check=False)


def ours() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def test_it_is_moved_renamed_and_up_with_its_lasting_addresses(life: Life, devices: tuple[str, str]) -> None:
    life.bundle.config["linux"]["netDevices"] = {devices[0]: {"name": "lan"}}
    life.bundle.config["linux"]["sysctl"] = {"net.ipv4.conf.lan.log_martians": "1"}
    said = life.says(f"{SHOW} lan; ip link show lan; cat /proc/sys/net/ipv4/conf/lan/log_martians")

    assert "inet 10.77.1.2/24 brd 10.77.1.255 scope global lan" in said
    assert "inet6 fd77::2/64 scope global" in said
    assert "10.77.1.3" not in said
    assert "10.77.1.4" not in said
    assert ",UP" in said
    assert said.endswith("\n1\n")


def test_it_keeps_its_name_and_goes_with_its_namespace(life: Life, devices: tuple[str, str]) -> None:
    """Nobody fetches it back (runtime-spec): a veth ends with the namespace."""
    life.bundle.config["linux"]["netDevices"] = {devices[0]: {}}
    life.sleep()

    assert devices[0] in life.runjail.ok("exec", "c", "/bin/ip", "link").stdout
    assert devices[0] not in ours()
    life.runjail.ok("delete", "-f", "c")
    assert devices[0] not in ours()


def test_a_template_takes_a_free_name(life: Life, devices: tuple[str, str]) -> None:
    life.bundle.config["linux"]["netDevices"] = {name: {"name": "lan%d"} for name in devices}
    said = life.says("ip -o link")

    assert "lan0" in said
    assert "lan1" in said


def test_hooks_find_it_moved(life: Life, devices: tuple[str, str]) -> None:
    life.bundle.config["linux"]["netDevices"] = {devices[0]: {}}
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"ip link > {life.path}/seen"]}
    life.bundle.config["hooks"] = {"createRuntime": [hook]}
    life.create("/bin/sleep", "600")

    assert devices[0] not in (life.path / "seen").read_text().replace(f"@{devices[0]}", "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"nosuch0": {}}, "linux.netDevices.nosuch0: there is no such interface"),
        ({NAMES[0]: {"name": "lo"}}, f"linux.netDevices.{NAMES[0]}: the container has an interface lo already"),
    ],
    ids=["absent", "taken"],  # the same in each of the processes that share the tests out: the names have a pid
)
def test_what_cannot_be_moved_leaves_nothing(
    life: Life, devices: tuple[str, str], change: dict[str, dict[str, str]], problem: str
) -> None:
    life.bundle.config["linux"]["netDevices"] = change
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert (result.returncode, result.stderr) == (1, f"runjail: {problem}\n")
    assert devices[0] in ours()
    life.gone()


@pytest.fixture
def bridge() -> Iterator[str]:
    """Return a bridge, which the kernel moves nowhere. Going down costs it its addresses of IPv6."""
    name = f"rj{os.getpid() % 100000}c"
    if subprocess.run(["ip", "link", "add", name, "type", "bridge"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel makes no bridges")
    ip("link", "set", name, "up")
    ip("address", "add", "fd78::2/64", "dev", name, "nodad")
    yield name
    ip("link", "del", name)


def test_what_the_kernel_does_not_move_stays_as_it_was(life: Life, bridge: str) -> None:
    life.bundle.config["linux"]["netDevices"] = {bridge: {}}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    why = f"linux.netDevices.{bridge}: moving it into the container: invalid argument"
    assert (result.returncode, result.stderr) == (1, f"runjail: {why}\n")
    said = ip("address", "show", "dev", bridge)
    assert "fd78::2/64" in said
    assert ",UP" in said
    life.gone()


def test_it_takes_a_network_namespace(life: Life, devices: tuple[str, str]) -> None:
    linux = life.bundle.config["linux"]
    linux["namespaces"] = [namespace for namespace in linux["namespaces"] if namespace["type"] != "network"]
    linux["netDevices"] = {devices[0]: {}}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert "linux.netDevices: needs a network namespace of the container's own" in result.stderr
    assert devices[0] in ours()
