"""Services of docker's swarm mode with runjail as the default runtime: swarm has no option for another one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import Tidiness, eventually
from tests.support.peers.docker import IMAGE, Docker, unmount_own

pytestmark = [pytest.mark.linux, pytest.mark.peers("dockerd", "docker", "unshare", "ip")]
SETTINGS = {"default-runtime": "runjail", "live-restore": False}  # which swarm mode does not take
# A network namespace of its own: swarm mode makes a bridge that stays, docker_gwbridge, and has ports of the machine
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
SCRIPT = "trap 'exit 0' TERM; echo started; while :; do sleep 0.1; done"


@pytest.fixture
def swarm(machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Docker]:
    """A swarm of one node; nothing of it is left."""
    directory = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))
    made = Docker(directory, machine_rootfs, leftovers, settings=SETTINGS, inside=ALONE)
    try:
        assert os.readlink(f"/proc/{made.process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        made.ok("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
        yield made
        made.ok("swarm", "leave", "--force")
        made.remove_everything()
    finally:
        made.end()
        unmount_own(directory)
    Tidiness([directory], directory / "exec", leftovers).check()
    shutil.rmtree(directory)


def test_a_service(swarm: Docker) -> None:
    """Three tasks; one that is killed is replaced, all are by an update, and their logs and ends are known."""
    mark = f"--env={swarm.ours.MARK}={swarm.ours.base}"
    words = ["--detach", "--name=web", "--replicas=3", "--network=host", "--no-resolve-image", mark, IMAGE]
    swarm.ok("service", "create", *words, "sh", "-c", SCRIPT)
    eventually(lambda: running(swarm) == 3, "three run")
    first = swarm.ok("ps", "-q").lines
    assert [swarm.ok("inspect", "-f", "{{.HostConfig.Runtime}}", id).out for id in first] == ["runjail\n"] * 3
    assert swarm("exec", first[0], "sh", "-c", "exit 3").code == 3
    swarm.ok("kill", first[0])
    eventually(lambda: "non-zero exit (137)" in swarm.ok("service", "ps", "--no-trunc", "web").out, "the end is known")
    eventually(lambda: running(swarm) == 3, "it is replaced")

    swarm.ok("service", "update", "--detach", "--env-add=VERSION=2", "web")
    eventually(lambda: running(swarm, "VERSION=2") == 3, "all are replaced")
    eventually(lambda: swarm.ok("service", "logs", "web").out.count("started") >= 7, "logs of all are there")
    swarm.ok("service", "rm", "web")
    eventually(lambda: running(swarm) == 0, "they end")


def running(swarm: Docker, variable: str = "") -> int:
    """Return how many containers run that have a variable."""
    ids = swarm.ok("ps", "-q").lines
    shown = swarm("inspect", "-f", "{{.State.Running}} {{.Config.Env}}", *ids).lines if ids else []
    return sum(line.startswith("true") and variable in line for line in shown)
