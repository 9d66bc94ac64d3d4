"""What dockerd does by itself, with runc, runjail and our shim: restarts, health checks; and what its end does."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers.commands import eventually
from tests.support.peers.docker import IMAGE, SHIM_SINCE, Docker, dead

pytestmark = [
    pytest.mark.linux,
    pytest.mark.peers("dockerd", "docker", "containerd", "runc"),
    pytest.mark.limit(600),
    pytest.mark.parametrize("runtime", ["runc", "runjail", "runjail-shim"]),
]
SHELL = ("/bin/sh", "-c")
TRIES = 10  # of runc's shim
HEALTH = ["--health-interval=1s", "--health-timeout=60s", "--health-retries=1"]


@pytest.fixture(autouse=True)
def chosen(docker: Docker, runtime: str) -> None:
    """Use the runtime of the test."""
    docker.needs(runtime)
    docker.runtime = runtime


def inspect(docker: Docker, form: str) -> str:
    """Return something that docker knows of the container."""
    return docker.ok("inspect", "--format", form, "web").out.strip()


# Restarts ---------------------------------------------------------------------------------------------------------


def test_restarted_as_often_as_asked(docker: Docker) -> None:
    docker.detached(*SHELL, "echo again; exit 3", options="--restart on-failure:2")

    eventually(lambda: (docker.status(), inspect(docker, "{{.RestartCount}}")) == (("exited", 3), "2"), "all tries")
    assert docker.ok("logs", "web").lines == ["again"] * 3


def test_restarted_when_it_is_killed_and_not_when_it_is_stopped(docker: Docker) -> None:
    docker.detached("sleep", "600", options="--restart unless-stopped")
    first = docker.state()["Pid"]
    os.kill(first, signal.SIGKILL)

    eventually(lambda: docker.status()[0] == "running" and docker.state()["Pid"] != first, "it runs again")
    docker.ok("stop", "--time", "0", "web")
    assert docker.status() == ("exited", 137)


def test_a_start_that_fails_is_not_repeated(docker: Docker) -> None:
    done = docker.run("-d --name web --restart always", "nope")

    assert done.code == 127
    assert docker.status() == ("created", 127)
    assert inspect(docker, "{{.RestartCount}}") == "0"


# Health -----------------------------------------------------------------------------------------------------------


def checks(docker: Docker, command: list[str], wanted: str) -> dict[str, Any]:
    """Run a container with a health check; returns the log of the first one that led to `wanted`."""
    test = json.dumps(command)
    docker.ok("create", "--name", "made", IMAGE, "sleep", "600")
    docker.ok(
        "commit", "--change", f"HEALTHCHECK --interval=1s --timeout=60s --retries=1 CMD {test}", "made", "checked"
    )
    words = docker.words("-d --name web", "sleep", "600")
    words[words.index(IMAGE)] = "checked"
    docker.ok(*words)
    eventually(lambda: docker.state()["Health"]["Status"] == wanted, wanted)
    log: dict[str, Any] = docker.state()["Health"]["Log"][-1]
    return log


def test_a_healthy_container(docker: Docker) -> None:
    log = checks(docker, [*SHELL, "echo well"], "healthy")

    assert (log["ExitCode"], log["Output"]) == (0, "well\n")


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ([*SHELL, "echo badly; exit 4"], 4, "badly\n"),
        (["/nope"], -1, 'exec: "/nope": stat /nope: no such file or directory'),
    ],
)
def test_an_unhealthy_container(docker: Docker, command: list[str], code: int, output: str) -> None:
    """A check that cannot start is one that failed: with docker 20.10 the program's words are its output."""
    log = checks(docker, command, "unhealthy")

    assert output in log["Output"]
    assert log["ExitCode"] == code or (code == -1 and log["ExitCode"] != 0)


# Memory -----------------------------------------------------------------------------------------------------------

HOG = "dd if=/dev/zero of=/dev/null bs=100M count=1"


@pytest.mark.needs("cgroups")
@pytest.mark.parametrize("script", [f"exec {HOG}", f"{HOG}; exit 9"], ids=["init", "a child"])
def test_a_container_out_of_memory(docker: Docker, script: str, runtime: str) -> None:
    """Our shim says it each time; runc's now and then ends before it has heard of it, whatever the runtime below."""

    def was_noticed() -> bool:
        docker.remove_everything()
        docker.detached(*SHELL, script, options="--memory 32m --memory-swap 32m")
        eventually(lambda: docker.status()[0] == "exited", "it ends")
        assert docker.status()[1] == (9 if "exit" in script else 137)
        noticed: bool = docker.state()["OOMKilled"]
        return noticed

    assert any(was_noticed() for _ in range(1 if runtime == "runjail-shim" else TRIES))


# dockerd comes and goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_containers_go_on_without_dockerd(docker: Docker, number: signal.Signals) -> None:
    """live-restore: the same process before and after, with its output, and everything works as before."""
    docker.detached(*SHELL, "trap 'exit 5' TERM; echo begun; while :; do sleep 0.1; done")
    pid = docker.state()["Pid"]
    docker.end(number)
    assert not dead(pid)
    docker.start()

    assert (docker.status(), docker.state()["Pid"]) == (("running", 0), pid)
    assert docker.ok("exec", "web", "echo", "inside").out == "inside\n"
    assert docker.ok("logs", "web").out == "begun\n"
    docker.ok("pause", "web"), docker.ok("unpause", "web")
    docker.ok("stop", "web")
    assert docker.status() == ("exited", 5)


def test_an_end_while_dockerd_was_away(docker: Docker, runtime: str) -> None:
    """It is heard of afterwards; newer dockers do not get the code from runc's shim, whatever the runtime below."""
    docker.detached("sleep", "600")
    pid = docker.state()["Pid"]
    docker.end(signal.SIGKILL)
    os.kill(pid, signal.SIGTERM if dead(pid) else signal.SIGKILL)
    eventually(lambda: dead(pid), "it ends")
    docker.start()

    eventually(lambda: docker.status()[0] == "exited", "dockerd hears of it")
    lost = docker.major >= SHIM_SINCE and runtime != "runjail-shim"
    assert docker.status()[1] in ((137, 255) if lost else (137,))
    assert docker("start", "web").code == 0
    assert docker.state()["Pid"] != pid


def test_one_that_restarts_ended_while_dockerd_was_away(docker: Docker) -> None:
    docker.detached("sleep", "600", options="--restart always")
    pid = docker.state()["Pid"]
    docker.end(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: dead(pid), "it ends")
    docker.start()

    eventually(lambda: docker.status()[0] == "running" and docker.state()["Pid"] != pid, "it runs again")


def test_a_shim_that_was_killed(docker: Docker, runtime: str) -> None:
    """Its container is over for dockerd, and can be removed. What listened for runc's shim stays."""
    socket = docker.socket(docker.detached("sleep", "600"))
    assert socket.exists()
    pid = docker.state()["Pid"]
    parent = int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)

    eventually(lambda: docker.status()[0] == "exited", "dockerd hears of it")
    docker.ok("rm", "web")
    eventually(lambda: dead(pid), "nothing goes on")
    if runtime == "runjail-shim":
        eventually(lambda: not socket.exists(), "its socket is gone")
    socket.unlink(missing_ok=True)
