"""A cluster: pods by RuntimeClass, with our shim and with runc's shim and runjail, beside those of runc."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.cluster import Cluster
from tests.support.peers.commands import Tidiness, eventually
from tests.support.peers.kubernetes import RUNTIMES
from tests.support.peers.pods import LIMITED, pod, shell

pytestmark = [pytest.mark.linux, pytest.mark.needs("a cluster", "cni", "runc", "cgroups v1")]
WEB = shell("echo started; trap 'exit 9' TERM; while :; do sleep 0.05; done")
OURS = RUNTIMES[1:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Cluster]:
    """A cluster of which nothing is left."""
    directory = tmp_path_factory.mktemp("k8s")
    made = Cluster(directory, machine_rootfs, leftovers)
    try:
        yield made
    finally:
        made.end()
    Tidiness([directory], directory / "state" / "runjail" / "k8s.io", leftovers).check()


@pytest.fixture
def cluster(whole: Cluster) -> Iterator[Cluster]:
    """That cluster; after each test no pod and no shim is left."""
    yield whole
    whole.remove_pods()


def run(cluster: Cluster, name: str, runtime: str, container: dict[str, Any], **spec: Any) -> None:
    """Make a pod of a RuntimeClass."""
    cluster.apply(pod(name, container, runtimeClassName=runtime, **spec))


def runs(cluster: Cluster, name: str) -> None:
    """Wait until a pod's container runs."""
    eventually(lambda: "running" in cluster.state(name), f"{name} runs", 180)


def test_side_by_side(cluster: Cluster) -> None:
    """Each RuntimeClass has its own program: kubectl logs, exec and its exit code, attach, delete in time."""
    for name in RUNTIMES:
        run(cluster, name, name, WEB)
    for name in RUNTIMES:
        runs(cluster, name)
        assert cluster.ok("exec", name, "--", "hostname").out == f"{name}\n"
        assert cluster.kubectl("exec", name, "--", "sh", "-c", "exit 4").code == 4
        assert cluster.ok("exec", "-i", name, "--", "cat", stdin="typed").out == "typed"
        eventually(lambda name=name: cluster.ok("logs", name).out == "started\n", "its log")  # type: ignore[misc]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in cluster.shims()]
    assert sorted(b"shim-runjail" in line for line in lines) == [False, False, True]
    states = Path(cluster.directory / "state" / "runjail" / "k8s.io"), Path(cluster.directory / "runjail" / "k8s.io")
    assert [len(list(state.glob("*/state.json"))) for state in states] == [2, 2], "a sandbox and a container each"


@pytest.mark.parametrize("runtime", OURS)
def test_a_deployment(cluster: Cluster, runtime: str) -> None:
    """That of docs/kubernetes.md: twenty pods, a rolling update, and less."""
    wanted = cluster.deployment(runtime, 20)
    cluster.apply(wanted)
    cluster.ok("rollout", "status", "deployment/web", "--timeout=400s", seconds=420)
    assert len(cluster.shims()) == 20
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VERSION", "value": "2"}]
    wanted["spec"]["replicas"] = 6
    cluster.apply(wanted)
    cluster.ok("rollout", "status", "deployment/web", "--timeout=400s", seconds=420)

    eventually(lambda: len(cluster.shims()) == 6, "those of before have ended", 180)
    assert cluster.ok("exec", "deployment/web", "--", "sh", "-c", "echo $VERSION").out == "2\n"


@pytest.mark.parametrize("runtime", OURS)
def test_out_of_memory(cluster: Cluster, runtime: str) -> None:
    run(cluster, "hog", runtime, {**shell("sleep 0.5; exec tail /dev/zero"), **LIMITED})
    eventually(lambda: "terminated" in cluster.state("hog"), "it is killed", 180)

    assert cluster.state("hog")["terminated"]["reason"] == "OOMKilled"
    assert "OOMKilled" in cluster.ok("get", "pods").out


@pytest.mark.parametrize("runtime", OURS)
def test_a_node_is_drained(cluster: Cluster, runtime: str) -> None:
    """All pods go; they come back when the node may have some again."""
    cluster.apply(cluster.deployment(runtime, 3))
    cluster.ok("rollout", "status", "deployment/web", "--timeout=180s")
    try:
        cluster.ok("drain", "node", "--timeout=180s", seconds=200)
        eventually(lambda: not cluster.shims(), "all are gone", 180)
    finally:
        cluster.ok("uncordon", "node")
    cluster.ok("rollout", "status", "deployment/web", "--timeout=180s")


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
def test_pods_run_on(cluster: Cluster, name: str) -> None:
    """While the kubelet or containerd is killed and started again; then they can be entered."""
    for runtime in OURS:
        run(cluster, runtime, runtime, WEB)
    for runtime in OURS:
        runs(cluster, runtime)
    before = [cluster.pods()[runtime]["containerStatuses"][0]["containerID"] for runtime in OURS]
    cluster.stop(name, signal.SIGKILL)
    cluster.start(name)
    for runtime in OURS:
        eventually(lambda runtime=runtime: cluster.kubectl("exec", runtime, "--", "true").code == 0, "it answers")  # type: ignore[misc]

    after = [cluster.pods()[runtime]["containerStatuses"][0] for runtime in OURS]
    assert [(each["containerID"], each["restartCount"]) for each in after] == [(id, 0) for id in before]


def test_a_handler_that_the_node_lacks(cluster: Cluster) -> None:
    """As docs/kubernetes.md says it."""
    found = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nope"}, "handler": "nope"}
    cluster.apply(found)
    run(cluster, "web", "nope", WEB)

    eventually(lambda: 'no runtime for \\"nope\\" is configured' in cluster.events("web"), "the event", 120)
