"""What a network stack of a container was given comes home on a real FreeBSD, though everything was killed."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support.container.harness import Life, until
from tests.support.freebsd.real import tool

pytestmark = pytest.mark.freebsd
Kill = Callable[[Life, "subprocess.Popen[bytes]"], None]
ID = f"rjlife{os.getpid()}"  # whose jail has this name, whatever else this machine runs


def names() -> list[str]:
    """Every jail of this machine, those that die included."""
    return tool("jls", "-d", "name").split()


@pytest.fixture
def epair() -> Iterator[tuple[str, str]]:
    """Both ends of a virtual cable."""
    host = tool("ifconfig", "epair", "create").strip()
    yield host, f"{host[:-1]}b"
    subprocess.run(["ifconfig", host, "destroy"], check=True)


def interfaces() -> list[str]:
    return tool("ifconfig", "-l").split()


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
def test_interfaces_come_home_when_everything_is_killed(life: Life, epair: tuple[str, str], kill: Kill) -> None:
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
