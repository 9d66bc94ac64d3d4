"""Networks, limits and terminals of a jail: what is promised is there, and what is denied fails."""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from runjail.errors import HostError
from runjail.spec.model import Process
from runjail.steps import JailDataset
from tests.support.container.harness import Life
from tests.support.freebsd.real import Real, tool

pytestmark = pytest.mark.freebsd


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def epair() -> Iterator[tuple[str, str]]:
    """Both ends of a virtual cable."""
    host = tool("ifconfig", "epair", "create").strip()
    yield host, f"{host[:-1]}b"
    subprocess.run(["ifconfig", host, "destroy"], check=True)


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
    assert epair[1] in tool("ifconfig", "-l").split(), "it came back"


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


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def accounting() -> None:
    if tool("sysctl", "-n", "kern.racct.enable").strip() != "1":
        pytest.skip("needs kern.racct.enable=1 in /boot/loader.conf")


def limits(**more: str) -> dict[str, dict[str, str]]:
    """Return annotations with rctl rules."""
    return {"annotations": {f"org.runjail.rctl.{resource}": rule for resource, rule in more.items()}}


@pytest.mark.usefixtures("accounting")
def test_processes_beyond_the_limit_cannot_be_forked(real: Real) -> None:
    real.build(linux={"resources": {"pids": {"limit": 2}}})

    def fork() -> object:
        made = []
        for _ in range(4):
            try:
                pid = os.fork()
            except BlockingIOError:
                break
            if not pid:
                time.sleep(100)
            made.append(pid)
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return len(made)

    assert real.inside(fork) == "1"


@pytest.mark.usefixtures("accounting")
def test_files_beyond_the_limit_cannot_be_opened(real: Real) -> None:
    (real.root / "etc/file").write_text("")
    real.build(**limits(openfiles="deny=30"))

    def open_many() -> object:
        return len([os.open("/etc/file", os.O_RDONLY) for _ in range(60)])

    assert "Too many open files" in real.inside(open_many)


@pytest.mark.usefixtures("accounting")
def test_who_takes_too_much_memory_is_killed(real: Real) -> None:
    real.build(linux={"resources": {"memory": {"limit": 64 << 20}}})

    def take() -> object:
        kept = [bytearray(1 << 20) for _ in range(160)]
        time.sleep(20)
        return len(kept)

    pid, reading = real.fork(take)
    status = os.waitpid(pid, 0)[1]
    os.close(reading)

    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.usefixtures("accounting")
def test_update_moves_a_memory_limit_both_ways(life: Life) -> None:
    life.bundle.config["linux"] = {"resources": {"memory": {"limit": 64 << 20}}}
    life.sleep()
    memory = []
    for size in (1 << 30, 32 << 20, 1 << 30):
        life.runjail.ok("update", "--memory", str(size), "c")
        rules = [rule for rule in tool("rctl", "jail:c").splitlines() if ":memoryuse:" in rule]
        data = json.loads(life.runjail.ok("events", "--stats", "c").stdout)["data"]
        memory.append((rules, data["memory"]["usage"]["limit"]))

    assert memory == [([f"jail:c:memoryuse:sigkill={size}"], size) for size in (1 << 30, 32 << 20, 1 << 30)]
    life.runjail.ok("delete", "-f", "c")
    assert tool("rctl", "jail:c") == ""


@pytest.mark.usefixtures("accounting")
def test_rules_are_those_of_the_document_and_go_with_the_container(real: Real) -> None:
    resources = {"memory": {"limit": 1 << 30, "swap": 3 << 29}, "pids": {"limit": 7}, "cpu": {"quota": 50000}}
    real.build(linux={"resources": resources}, **limits(nshm="deny=3,log=2", writebps="throttle=1m"))

    assert set(tool("rctl", f"jail:{real.name}").splitlines()) == {
        f"jail:{real.name}:{rule}"
        for rule in (
            *("memoryuse:sigkill=1073741824", "swapuse:deny=536870912", "maxproc:deny=7", "pcpu:deny=50"),
            *("nshm:deny=3", "nshm:log=2", "writebps:throttle=1048576"),
        )
    }
    real.undo()
    assert tool("rctl", f"jail:{real.name}") == ""


def test_processors(real: Real) -> None:
    real.build(linux={"resources": {"cpu": {"cpus": "0"}}})
    pid = real.sleeper()

    assert tool("cpuset", "-g", "-p", str(pid)).splitlines()[0].endswith("mask: 0")
    real.host.kill_all(real.host_state, signal.SIGKILL)
    os.waitpid(pid, 0)


# Terminals ------------------------------------------------------------------------------------------------------------


def test_a_terminal_is_seen_by_its_session_and_by_nobody_else(real: Real) -> None:
    real.build(mounts=[{"destination": "/dev", "type": "devfs", "source": "devfs"}])
    master, slave = real.host.open_console(Process(("x",)), real.host_state)
    name = os.path.basename(os.ttyname(slave))

    def controlled() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        return os.path.exists(f"/dev/pts/{name}")

    try:
        assert real.inside(controlled, [slave]) == "True"
        assert real.inside(lambda: os.path.exists(f"/dev/pts/{name}")) == "False"
    finally:
        os.close(slave)
        os.close(master)


def test_a_new_size_reaches_the_program(real: Real) -> None:
    real.create()
    master, slave = real.host.open_console(Process(("x",)), real.host_state)
    reading, writing = os.pipe()

    def wait_for_it() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
        signal.signal(signal.SIGWINCH, lambda *_: None)  # one that is ignored is not even kept for sigwait
        os.write(writing, b"go")
        if not signal.sigtimedwait({signal.SIGWINCH}, 20):
            return "no signal"
        return struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2]

    try:
        pid, said = real.fork(wait_for_it, [slave, writing])
        assert os.read(reading, 2) == b"go"
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 22, 0, 0))
        with os.fdopen(said) as file:
            assert file.read() == "(11, 22)"
        os.waitpid(pid, 0)
    finally:
        for descriptor in (slave, master, reading, writing):
            os.close(descriptor)


# Datasets -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset() -> Iterator[str]:
    """A dataset of a pool that this machine has."""
    pools = subprocess.run(["zpool", "list", "-Ho", "name"], capture_output=True, text=True, check=False).stdout.split()
    if not pools:
        pytest.skip("needs a ZFS pool")
    name = f"{pools[0]}/rjjail{os.getpid()}"
    tool("zfs", "create", "-o", "jailed=on", "-o", "mountpoint=/data", name)
    yield name
    tool("zfs", "destroy", "-r", name)


def test_a_dataset_that_the_container_manages(real: Real, dataset: str) -> None:
    real.build(annotations={"org.runjail.zfs.dataset": dataset})
    tool("zfs", "snapshot", f"{dataset}@before")

    assert real.jls("allow.mount.zfs", "enforce_statfs") == ["true", "1"]
    real.inside(lambda: os.mkdir("/data"))
    said = real.inside(lambda: real.libc.nmount([("fstype", "zfs"), ("fspath", "/data"), ("from", dataset)], 0))
    assert (said, real.mounts()) == ("None", ["data"])
    with pytest.raises(HostError, match="dataset already exists"):
        real.apply(JailDataset(dataset))
    real.undo()
    assert real.mounts() == []


def test_a_dataset_of_the_host_is_not_given_away(real: Real, dataset: str) -> None:
    tool("zfs", "set", "jailed=off", "mountpoint=none", dataset)

    with pytest.raises(HostError, match="its property jailed is off"):
        real.build(annotations={"org.runjail.zfs.dataset": dataset})
