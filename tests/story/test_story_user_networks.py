"""`run --network pasta` and `slirp4netns` as an ordinary user: the network is there, and goes with the container."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import until
from tests.support.story.ordinary import Ordinary, make_image, mount_points, ordinary

pytestmark = [pytest.mark.linux, pytest.mark.needs("ordinary user", "mounts", "tun")]

SERVE = "cd /tmp; rm -f end; echo hello >index.html; httpd -p 80; until [ -e end ]; do sleep 0.1; done"
BOTH = pytest.mark.parametrize(
    "network",
    [
        pytest.param("slirp4netns", marks=pytest.mark.peers("slirp4netns")),
        pytest.param("pasta", marks=[pytest.mark.peers("pasta"), pytest.mark.needs("a route")]),
    ],
)


def made(place: Path, machine_rootfs: Path, mode: str) -> Iterator[Ordinary]:
    """Yield the program as a user calls it for whom /dev/net/tun has a mode."""
    image = make_image(place, machine_rootfs)
    with mount_points():
        yield from ordinary(place, image, lent=False, device=mode)


@pytest.fixture
def tester(place: Path, machine_rootfs: Path) -> Iterator[Ordinary]:
    """A user with one id."""
    yield from made(place, machine_rootfs, "666")


@pytest.fixture
def port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def fetched(port: int) -> bytes:
    """Return what a server at a port of this machine's loopback says, b"" as long as there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return b""


def noted(tester: Ordinary, id: str) -> list[Any]:
    """Return the processes that are a container's network, and their start times."""
    lines = (tester.root / id / "undo").read_text().splitlines()
    found: list[Any] = [json.loads(line) for line in lines if '"program"' in line][-1]["processes"]
    return found


def is_there(process: list[Any]) -> bool:
    """Whether a process is that of a note, and no zombie."""
    try:
        fields = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and fields[19] == process[1]


@BOTH
def test_a_port_is_published(tester: Ordinary, network: str, port: int) -> None:
    """A whole life: reached from the host, shown, and nobody is left."""
    tester.ok(*f"run -d --network {network} -p 127.0.0.1:{port}:80 --image made web -- /bin/sh -c".split(), SERVE)
    until(lambda: fetched(port).endswith(b"hello\n"))
    both = noted(tester, "web")
    assert all(map(is_there, both))
    settings = json.loads(tester.ok("inspect", "web").stdout)[0]["NetworkSettings"]
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert list(settings["Networks"]) == [network]
    tester.ok("kill", "web", "KILL")
    until(lambda: not any(map(is_there, both)))  # with its init
    tester.ok("delete", "web")
    assert fetched(port) == b""


@BOTH
def test_delete_ends_it(tester: Ordinary, network: str) -> None:
    """One that is stopped does not keep who deletes waiting."""
    tester.ok(*f"run -d --network {network} --image made web -- /bin/sleep 600".split())
    both = noted(tester, "web")
    for pid, _started in both:
        os.kill(pid, 19)
    tester.ok("delete", "--force", "web")

    assert not any(map(is_there, both))


@BOTH
def test_names(tester: Ordinary, network: str) -> None:
    """The program answers for the host's name servers, which come after it; --dns is instead of both."""
    server = {"slirp4netns": "10.0.2.3", "pasta": "169.254.1.1"}[network]
    words = ("run", "--network", network, "--image", "made")
    shown = tester.ok(*words, "web", "--", "/bin/cat", "/etc/resolv.conf").stdout
    assert next(line for line in shown.splitlines() if line.startswith("nameserver")) == f"nameserver {server}"
    shown = tester.ok(*words, "--dns", "192.0.2.53", "web", "--", "/bin/cat", "/etc/resolv.conf").stdout
    assert [line for line in shown.splitlines() if line.startswith("nameserver")] == ["nameserver 192.0.2.53"]


@pytest.mark.peers("slirp4netns")
def test_its_own_addresses(tester: Ordinary) -> None:
    """As podman gives them: the last of its names is the container's own."""
    settings = "cat $S/ipv6/conf/tap0/accept_dad || echo 0; cat $S/ipv4/ip_forward"
    script = f"S=/proc/sys/net; ifconfig tap0; route -n; {settings}; cat /etc/hosts"
    words = (
        "run --network slirp4netns:cidr=10.9.0.0/24,mtu=1400 --sysctl net.ipv4.ip_forward=1 --hostname inside "
        "--image made web -- /bin/sh -c"
    )
    shown = tester.ok(*words.split(), script).stdout

    assert "inet addr:10.9.0.100" in shown and "MTU:1400" in shown
    assert "\n0\n1\n" in shown  # no waiting until IPv6 is there, and what --sysctl says
    assert "10.9.0.2" in shown and shown.endswith("10.9.0.100\tinside web\n"), shown


@BOTH
def test_it_is_there_again_after_a_restart(tester: Ordinary, network: str, port: int) -> None:
    """Each life of the program has one, and the one before is gone."""
    options = f"run -d --restart always --network {network} -p {port}:80 --image made web -- /bin/sh -c"
    tester.ok(*options.split(), SERVE)
    until(lambda: fetched(port).endswith(b"hello\n"))
    before = noted(tester, "web")
    tester.ok("exec", "web", "/bin/sh", "-c", "touch /tmp/end")
    until(lambda: json.loads(tester.ok("inspect", "web").stdout)[0]["RestartCount"] == 1)
    until(lambda: fetched(port).endswith(b"hello\n"))

    assert not any(map(is_there, before))
    assert all(map(is_there, noted(tester, "web")))
    tester.ok("delete", "--force", "web")
    assert fetched(port) == b""


@BOTH
def test_a_port_that_is_taken(tester: Ordinary, network: str) -> None:
    """One clear error, and nothing is left of the container."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        number = taken.getsockname()[1]
        refused = tester(*f"run --network {network} -p {number}:80 --image made web -- /bin/true".split())

    assert refused.returncode == 1
    assert refused.stderr == (
        f"runjail: --publish: port 0.0.0.0:{number}/tcp of the host: address already in use\n"
        "hint: ss -lntu shows who has it; below 1024 only root may, or sysctl net.ipv4.ip_unprivileged_port_start\n"
    )
    assert tester.ids() == []


def test_the_device_cannot_be_opened(place: Path, machine_rootfs: Path) -> None:
    """Said before anything is fetched, with the remedy."""
    for tester in made(place, machine_rootfs, "600"):
        for network in ("slirp4netns", "pasta"):
            refused = tester("run", "--network", network, "--image", "made", "web", "--", "/bin/true")
            if "is not installed" in refused.stderr:
                continue
            assert refused.returncode == 1
            assert refused.stderr == (
                f"runjail: --network {network} takes /dev/net/tun: access refused\n"
                "hint: chmod a+rw /dev/net/tun, as most systems have it\n"
            )


@BOTH
def test_the_container_does_not_reach_who_moves_its_packets(tester: Ordinary, network: str) -> None:
    """Its root kills all that it sees, and tries the numbers that they have outside."""
    tester.ok(*f"run -d --network {network} --image made web -- /bin/sleep 600".split())
    both = noted(tester, "web")
    numbers = " ".join(str(pid) for pid, _ in both)
    script = f"ls -d /proc/[0-9]*; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; kill -9 {numbers}; kill -9 -1; true"
    shown = tester("exec", "web", "/bin/sh", "-c", script)

    assert network not in shown.stdout, shown
    assert all(map(is_there, both))
    tester.ok("delete", "--force", "web")
    assert not any(map(is_there, both))


@BOTH
@pytest.mark.parametrize("victim", [0, 1])
def test_one_does_not_outlive_the_other(tester: Ordinary, network: str, victim: int) -> None:
    """Also the real programs, which change who they are after they have been told to die with who watches."""
    tester.ok(*f"run -d --network {network} --image made web -- /bin/sleep 600".split())
    both = noted(tester, "web")
    os.kill(both[victim][0], 9)
    until(lambda: not any(map(is_there, both)))

    assert "running" in tester.ok("state", "web").stdout
    tester.ok("delete", "--force", "web")


@pytest.mark.peers("slirp4netns")
def test_run_is_killed(tester: Ordinary) -> None:
    """A container whose foreground `run` was killed goes on, with its network; `delete --force` ends both."""
    words = [tester.program, *"run --network slirp4netns --image made web -- /bin/sleep 600".split()]
    running = subprocess.Popen(words, env={"PATH": os.defpath}, start_new_session=True)
    until(lambda: "running" in tester("state", "web").stdout)
    both = noted(tester, "web")
    os.killpg(running.pid, 9)
    running.wait()
    assert all(map(is_there, both))
    tester.ok("delete", "--force", "web")

    assert not any(map(is_there, both))
    tester.ok("image", "prune")
