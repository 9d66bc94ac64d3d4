"""A kubelet's view: pods of containerd's CRI plugin with runtime handler runjail."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers.commands import eventually
from tests.support.peers.cri import EXITED, NODE, RUNNING, Cri
from tests.support.peers.shims import IMAGE, Containerd, suite, versions

pytestmark = [pytest.mark.peers("containerd", "ctr"), pytest.mark.linux]
HOST_NETWORK = {"namespace_options": {"network": NODE}}


class Pod:
    """One pod sandbox and what is in it."""

    def __init__(self, cri: Cri, logs: Path, group: str) -> None:
        self.cri = cri
        self.config = {
            "metadata": {"name": "pod", "uid": "u1", "namespace": "test"},
            "log_directory": str(logs),
            "linux": {"cgroup_parent": f"/{group}", "security_context": HOST_NETWORK},
        }
        self.id = cri("RunPodSandbox", config=self.config, runtime_handler="runjail")["id"]

    def container(self, name: str, *command: str, env: dict[str, str]) -> str:
        """Create and start a container. Returns its id."""
        config: dict[str, Any] = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": list(command),
            "envs": [{"key": key, "value": value} for key, value in env.items()],
            "log_path": f"{name}.log",
            "linux": {"security_context": HOST_NETWORK},
        }
        id = self.cri("CreateContainer", id=self.id, config=config, sandbox_config=self.config)["id"]
        self.cri("StartContainer", id=id)
        return str(id)

    def remove(self) -> None:
        """Stop and remove the pod with all its containers."""
        self.cri("StopPodSandbox", id=self.id)
        self.cri("RemovePodSandbox", id=self.id)


@pytest.fixture(scope="module", params=versions(), ids=suite)
def daemon(request: pytest.FixtureRequest, containerd: Callable[..., Containerd]) -> Iterator[Containerd]:
    """A containerd of each version with its CRI plugin, and the image in the plugin's namespace."""
    pytest.importorskip("grpc")
    made = containerd(cri=True, binaries=request.param)
    made.import_image("k8s.io")
    yield made
    made.end()


@pytest.fixture
def cri(daemon: Containerd) -> Iterator[Cri]:
    """A client; pods that a test leaves are an error of the fixture `ctr`."""
    client = Cri(str(daemon.directory / "containerd.sock"))
    eventually(lambda: daemon.ok("--namespace", "k8s.io", "image", "ls", "-q").out.count(IMAGE), "the image is known")
    yield client
    client.close()


@pytest.fixture
def pod(daemon: Containerd, cri: Cri, tmp_path: Path) -> Iterator[Pod]:
    """A pod that is removed after the test; then no shim is left."""
    made = Pod(cri, tmp_path, daemon.ours.group)
    yield made
    made.remove()
    eventually(lambda: not daemon.shims(), "the pod's shim ends")
    assert daemon.ours.mounts(str(daemon.directory / "state")) == []


def status(pod: Pod, id: str) -> dict[str, Any]:
    """Return a container's status."""
    found: dict[str, Any] = pod.cri("ContainerStatus", id=id)["status"]
    return found


def test_life_of_a_pod(daemon: Containerd, pod: Pod, tmp_path: Path) -> None:
    """Sandbox and containers have one shim; exec, logs, statistics and the end are as a kubelet expects them."""
    env = {daemon.ours.MARK: daemon.ours.base}
    web = pod.container("web", "sh", "-c", "echo started; trap 'exit 9' TERM; while :; do sleep 0.05; done", env=env)
    job = pod.container("job", "sh", "-c", "echo done; exit 3", env=env)
    eventually(lambda: status(pod, job)["state"] == EXITED, "the job ends")
    assert status(pod, job)["exit_code"] == 3
    assert status(pod, web)["state"] == RUNNING
    assert len(daemon.shims()) == 1

    done = pod.cri("ExecSync", id=web, cmd=["sh", "-c", "echo out; echo err >&2; exit 4"], timeout=50)
    assert (done["stdout"], done["stderr"], done["exit_code"]) == (b"out\n", b"err\n", 4)
    # Without control groups it is counted in hundredths of a second
    eventually(lambda: pod.cri("ContainerStats", id=web)["stats"]["cpu"]["usage"]["value"] > 0, "time is counted")
    eventually(lambda: "started" in (tmp_path / "web.log").read_text(encoding="utf-8"), "its output is in the log")
    assert (tmp_path / "job.log").read_text(encoding="utf-8").rstrip().endswith(" stdout F done")

    pod.cri("StopContainer", id=web, timeout=50)
    assert status(pod, web)["exit_code"] == 9
    pod.cri("RemoveContainer", id=web)
    pod.cri("RemoveContainer", id=job)


@pytest.mark.needs("cgroups v1")
def test_limits_change(daemon: Containerd, pod: Pod) -> None:
    """What a kubelet sets later is what the kernel enforces."""
    web = pod.container("web", "sleep", "600", env={daemon.ours.MARK: daemon.ours.base})
    pod.cri("UpdateContainerResources", id=web, linux={"memory_limit_in_bytes": 64 << 20})
    limits = [
        path.read_text(encoding="ascii") for path in Path("/sys/fs/cgroup/memory").rglob(f"*{web}/*.limit_in_bytes")
    ]

    assert f"{64 << 20}\n" in limits


@pytest.mark.needs("cgroups v1")
def test_a_container_that_runs_out_of_memory(daemon: Containerd, pod: Pod) -> None:
    """A kubelet reads why it was killed."""
    env = {daemon.ours.MARK: daemon.ours.base}
    hog = pod.container("hog", "sh", "-c", "sleep 0.3; exec tail /dev/zero", env=env)
    pod.cri("UpdateContainerResources", id=hog, linux={"memory_limit_in_bytes": 8 << 20})
    eventually(lambda: status(pod, hog)["state"] == EXITED, "it is killed")

    assert (status(pod, hog)["exit_code"], status(pod, hog)["reason"]) == (137, "OOMKilled")


def test_a_container_that_does_not_stop(daemon: Containerd, pod: Pod) -> None:
    """After its time it is killed."""
    env = {daemon.ours.MARK: daemon.ours.base}
    web = pod.container("web", "sh", "-c", "trap '' TERM; >/deaf; while :; do sleep 0.05; done", env=env)
    there = ["sh", "-c", "test -e /deaf && echo deaf || echo not yet"]
    eventually(lambda: pod.cri("ExecSync", id=web, cmd=there, timeout=50)["stdout"] == b"deaf\n", "it is deaf")
    pod.cri("StopContainer", id=web, timeout=1)

    assert status(pod, web)["exit_code"] == 137


def test_a_command_that_takes_too_long(daemon: Containerd, pod: Pod) -> None:
    """ExecSync gives up and kills the process; the container runs on."""
    import grpc

    web = pod.container("web", "sleep", "600", env={daemon.ours.MARK: daemon.ours.base})
    with pytest.raises(grpc.RpcError, match="timeout 1s exceeded"):
        pod.cri("ExecSync", id=web, cmd=["sleep", "604"], timeout=1)
    done = pod.cri("ExecSync", id=web, cmd=["sh", "-c", "ps | grep -c '[s]leep 604'"], timeout=50)

    assert done["stdout"] == b"0\n"


def test_removing_a_running_pod(daemon: Containerd, pod: Pod) -> None:
    """What the fixture does: everything ends with the pod."""
    pod.container("one", "sleep", "600", env={daemon.ours.MARK: daemon.ours.base})
    pod.container("two", "sleep", "600", env={daemon.ours.MARK: daemon.ours.base})
    assert len(daemon.shims()) == 1
