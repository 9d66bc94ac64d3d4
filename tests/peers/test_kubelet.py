"""A kubelet without a cluster: its pods with our shim, and with runc's shim and runjail, beside those of runc."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.peers.commands import eventually
from tests.support.peers.kubernetes import RUNTIMES, Kubelet
from tests.support.peers.pods import CASES, FAILED, LIMITED, pod, shell

pytestmark = [pytest.mark.linux, pytest.mark.needs("kubelet of its own", "cni", "runc", "cgroups v1", "curl")]
WEB = shell("echo started; trap 'exit 9' TERM; while :; do sleep 0.05; done")
PREFIX = re.compile("runc create failed: (unable to start container process: )?")


@pytest.fixture(scope="module")
def expected(kubelet: Callable[..., Any], binaries: str) -> dict[str, list[Any]]:
    """What becomes of all cases with runc."""
    with kubelet("runc", binaries) as machine:
        return outcomes(machine)


@pytest.fixture(scope="module", params=RUNTIMES[1:])
def machine(
    request: pytest.FixtureRequest, kubelet: Callable[..., Any], binaries: str, expected: dict[str, list[Any]]
) -> Iterator[Kubelet]:
    """A kubelet whose pods run with runjail."""
    with kubelet(request.param, binaries) as made:
        yield made


@pytest.fixture
def pods(machine: Kubelet) -> Iterator[Kubelet]:
    """That kubelet; after each test no pod and no shim is left."""
    yield machine
    machine.remove_pods()


def outcomes(machine: Kubelet) -> dict[str, list[Any]]:
    """Return by case how its container ended, or why it could not begin, and what it printed."""
    for name, (container, spec) in CASES.items():
        machine.place(pod(name, container, **spec))
    found = {name: outcome(machine, name) for name in CASES}
    machine.remove_pods()
    return found


def outcome(machine: Kubelet, name: str) -> list[Any]:
    """Wait for the end of a pod's container; see outcomes."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        now = machine.state(name)
        waiting = now.get("waiting", {})
        found.update(now.get("terminated") or (waiting if waiting.get("reason") in FAILED else {}))
        return bool(found)

    eventually(has_ended, f"{name} ends", 180)
    said = json.dumps([[found.get(key) for key in ("exitCode", "reason", "message")], machine.logs(name)])
    return json.loads(PREFIX.sub("", re.sub(r"[0-9a-f]{64}", "ID", said)))  # type: ignore[no-any-return]


def runs(machine: Kubelet, name: str) -> None:
    """Wait until a pod's container runs."""
    eventually(lambda: "running" in machine.state(name), f"{name} runs", 180)


def test_same_as_runc(pods: Kubelet, expected: dict[str, list[Any]]) -> None:
    """What the kubelet tells of a pod, and what is seen from inside."""
    found = outcomes(pods)

    assert {name: (found[name], expected[name]) for name in CASES if found[name] != expected[name]} == {}


def test_exec_and_logs(pods: Kubelet) -> None:
    pods.place(pod("web", WEB))
    runs(pods, "web")

    assert pods.exec("web", "hostname") == "web-node\n"
    assert "exited with 1" in pods.exec("web", "false")
    assert 'exec: "nope": executable file not found in $PATH' in pods.exec("web", "nope")
    eventually(lambda: pods.logs("web") == "started\n", "what it prints is in the log")


def test_liveness(pods: Kubelet) -> None:
    """A container whose probe fails is ended as it wants, and started again."""
    probe = {"exec": {"command": ["sh", "-c", "exit 1"]}, "periodSeconds": 1, "failureThreshold": 2}
    pods.place(pod("web", {**WEB, "livenessProbe": probe}, restartPolicy="Always"))
    eventually(lambda: pods.container("web").get("restartCount"), "it is started again", 180)

    assert pods.container("web")["lastState"]["terminated"]["exitCode"] == 9


def test_out_of_memory_again_and_again(pods: Kubelet) -> None:
    hog = {**shell("sleep 0.5; exec tail /dev/zero"), **LIMITED}
    pods.place(pod("hog", hog, restartPolicy="Always"))
    eventually(lambda: pods.container("hog").get("restartCount"), "it is started again", 180)

    assert pods.container("hog")["lastState"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.parametrize("name", ["kubelet-alone", "containerd"])
def test_pods_run_on(pods: Kubelet, name: str) -> None:
    """While the kubelet or containerd is killed and started again; then they are known, can be entered, and end."""
    web = f"web-{name}"
    pods.place(pod(web, WEB))
    runs(pods, web)
    before, shims = pods.container(web)["containerID"], pods.shims()
    pods.stop(name, signal.SIGKILL)
    pods.start(name)
    eventually(lambda: pods.exec(web, "echo inside") == "inside\n", "it can be entered", 180)

    assert (pods.container(web)["containerID"], pods.container(web)["restartCount"]) == (before, 0)
    assert pods.shims() == shims
    pods.forget(web)
    eventually(lambda: pods.ended(before.removeprefix("containerd://")), "it ends", 180)
    for id in pods.ctr(
        "task", "ls", "-q"
    ).lines:  # this kubelet does not know the sandbox of a pod that it has not made
        pods.ctr("task", "kill", "--signal", "KILL", id)
