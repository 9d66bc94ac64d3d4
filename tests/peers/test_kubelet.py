"""A kubelet without a cluster: its pods with our shim, runc's shim and runjail, and cri-o, beside those of runc."""

import functools
import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.peers import crio
from tests.support.peers.commands import eventually
from tests.support.peers.kubernetes import RUNTIMES, Kubelet, containerds, named
from tests.support.peers.pods import CASES, FAILED, LIMITED, pod, shell

pytestmark = [pytest.mark.linux, pytest.mark.needs("kubelet of its own", "cni", "runc", "cgroups v1", "curl")]
WEB = shell("echo started; trap 'exit 9' TERM; while :; do sleep 0.05; done")
# What runc's words about a pod are in: its own, and under cri-o, which shows all that a runtime prints, those of a log
PREFIX = re.compile("runc create failed: (unable to start container process: )?")
LOGGED = re.compile(r'time="[^"]*" level=error msg="(.*)"\n')
OURS = "container create failed: runjail: "
MACHINES = [(place, runtime) for place in containerds() for runtime in RUNTIMES[1:]]
MACHINES += [(str(crio.BUILT), "runjail")] if crio.there() else []


@pytest.fixture(scope="module")
def with_runc(kubelet: Callable[..., Any]) -> Callable[[str], dict[str, list[Any]]]:
    """Tell what becomes of all cases with runc and an engine."""

    @functools.cache
    def told(engine: str) -> dict[str, list[Any]]:
        with kubelet("runc", engine) as machine:
            return outcomes(machine)

    return told


@pytest.fixture(scope="module", params=MACHINES, ids=lambda pair: f"{named(pair[0])}-{pair[1]}")
def machine(
    request: pytest.FixtureRequest, kubelet: Callable[..., Any], with_runc: Callable[[str], dict[str, list[Any]]]
) -> Iterator[Kubelet]:
    """A kubelet whose pods run with runjail."""
    engine, runtime = request.param
    with_runc(engine)
    with kubelet(runtime, engine) as made:
        yield made


@pytest.fixture
def pods(machine: Kubelet) -> Iterator[Kubelet]:
    """That kubelet; after each test no pod and no shim is left."""
    yield machine
    machine.remove_pods()


def outcomes(machine: Kubelet) -> dict[str, list[Any]]:
    """Return by case how its container ended, or why it could not begin, and what it printed."""
    cases = {name: case for name, case in CASES.items() if name not in machine.impossible}
    for name, (container, spec) in cases.items():
        machine.place(pod(name, container, **spec))
    found = {name: outcome(machine, name) for name in cases}
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
    text = (
        LOGGED.sub(plain, PREFIX.sub("", found.get("message") or ""))
        .replace(OURS, "container create failed: ")
        .rstrip()
    )
    said = json.dumps([found.get("exitCode"), found.get("reason"), text, machine.logs(name)])
    return json.loads(re.sub(r"[0-9a-f]{64}", "ID", said))  # type: ignore[no-any-return]


def plain(line: re.Match[str]) -> str:
    """Return the message of one line of runc's log."""
    return line[1].replace('\\"', '"')


def runs(machine: Kubelet, name: str) -> None:
    """Wait until a pod's container runs."""
    eventually(lambda: "running" in machine.state(name), f"{name} runs", 180)


def test_same_as_runc(pods: Kubelet, with_runc: Callable[[str], dict[str, list[Any]]]) -> None:
    """What the kubelet tells of a pod, and what is seen from inside."""
    expected, found = with_runc(pods.binaries), outcomes(pods)

    assert {name: (found[name], expected[name]) for name in expected if found[name] != expected[name]} == {}


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


@pytest.mark.parametrize("which", ["kubelet", "engine"])
def test_pods_run_on(pods: Kubelet, which: str) -> None:
    """While the kubelet or its engine is killed and started again; then they are known, can be entered, and end."""
    web, name = f"web-{which}", "kubelet-alone" if which == "kubelet" else pods.engine
    pods.place(pod(web, WEB))
    runs(pods, web)
    before, shims = pods.container(web)["containerID"], pods.shims()
    pods.stop(name, signal.SIGKILL)
    pods.start(name)
    eventually(lambda: pods.exec(web, "echo inside") == "inside\n", "it can be entered", 180)

    assert (pods.container(web)["containerID"], pods.container(web)["restartCount"]) == (before, 0)
    assert pods.shims() == shims
    pods.forget(web)
    eventually(lambda: pods.ended(before.partition("://")[2]), "it ends", 180)
    pods.end_sandboxes()


def test_figures(pods: Kubelet) -> None:
    """What `kubectl top` shows."""
    pods.place(pod("web", shell("while :; do :; done")))
    runs(pods, "web")

    def used() -> bool:
        said = pods.ask("stats/summary", "--fail")  # refused for a while: there are no figures of images yet
        summary = json.loads(said.out)["pods"] if said.code == 0 else []
        found = [each for each in summary if "web" in each["podRef"]["name"]]
        figures = [container for each in found for container in each.get("containers", [])]
        return any(
            each.get("cpu", {}).get("usageCoreNanoSeconds", 0) > 10**8 and each["memory"].get("workingSetBytes", 0) > 0
            for each in figures
        )

    eventually(used, "its figures come", 180)
