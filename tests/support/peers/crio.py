"""A machine whose kubelet asks cri-o: pods by conmon, with runc and with runjail."""

import shutil
import sys
from pathlib import Path

from tests.support.peers.commands import PATH, RUNJAIL, eventually
from tests.support.peers.cri import Cri
from tests.support.peers.kubernetes import TOP, Kubelet
from tests.support.peers.kubernetes_settings import block, replaced
from tests.support.peers.shims import IMAGE, snapshotter

BUILT = TOP / ".peers" / "crio" / "bin"  # .ci/build_kubernetes puts crio and pinns there
RUNTIMES = ("runc", "runjail")  # of cri-o's configuration, docs/kubernetes.md
SETTINGS = """\
[crio]
root = "{0}/storage"
runroot = "{0}/run"
storage_driver = "{driver}"
log_dir = "{0}/crio-logs"
version_file = "{0}/version"
version_file_persist = "{0}/version-persist"
clean_shutdown_file = "{0}/clean"
internal_wipe = false

[crio.api]
listen = "{0}/crio.sock"
stream_address = "127.0.0.1"
stream_port = "0"

[crio.runtime]
default_runtime = "{runtime}"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
pinns_path = "{pinns}"
namespaces_dir = "{0}/namespaces"
container_exits_dir = "{0}/exits"
container_attach_socket_dir = "{0}/attach"
hooks_dir = []
default_ulimits = ["nofile=1024:4096"]

[crio.runtime.runtimes.runc]
runtime_path = "{0}/programs/runc"
runtime_root = "{0}/runc"
monitor_path = "/usr/bin/conmon"
monitor_cgroup = "pod"

[crio.image]
signature_policy = "{0}/policy.json"
global_auth_file = ""
pause_image = "{image}"
pause_command = "/pause"

[crio.network]
network_dir = "{0}/cni"
plugin_dirs = ["/usr/lib/cni"]

[crio.metrics]
enable_metrics = false

"""
WITHIN_LIMITS = """\
#!{python} -IS
import json, os, sys
if "--bundle" in sys.argv:
    path = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
    with open(path) as file:
        config = json.load(file)
    config["linux"]["resources"].pop("hugepageLimits", None)
    with open("/proc/self/oom_score_adj") as file:
        config["process"]["oomScoreAdj"] = max(config["process"].get("oomScoreAdj", 0), int(file.read()))
    with open(path, "w") as file:
        json.dump(config, file)
os.execv("{program}", ["{program}", *sys.argv[1:]])
"""  # a runtime that is not asked for what cri-o always wants and a machine like this one does not give to anybody
PAUSE = (
    "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n"  # else cri-o waits two minutes for its end
)
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class CrioKubelet(Kubelet):
    """A kubelet without a cluster, whose engine is cri-o."""

    engine = "crio"
    impossible = ("privileged",)  # with all capabilities that there are, which tests may lack themselves

    @property
    def state_of_runjail(self) -> Path:
        """Where runjail has its containers."""
        return self.directory / "runjail"

    def configuration(self, default: str) -> dict[str, str]:
        """Return cri-o's configuration: that of the page but for places, with ours."""
        programs = {name: self.directory / "programs" / name for name in RUNTIMES}
        places = {"/usr/local/bin/runjail": str(programs["runjail"]), "/run/runjail": f"{self.directory}/runjail"}
        ours = replaced(block("Nodes with cri-o", "toml"), places)
        self.driver = "overlay" if snapshotter(self.directory) == "overlayfs" else "vfs"
        text = SETTINGS.format(self.directory, runtime=default, driver=self.driver, pinns=BUILT / "pinns", image=IMAGE)
        real = {"runc": shutil.which("runc", path=PATH), "runjail": RUNJAIL}
        wrapped = {
            f"programs/{name}": WITHIN_LIMITS.format(python=sys.executable, program=real[name]) for name in RUNTIMES
        }
        return {"crio.conf": text + ours, "policy.json": POLICY, **wrapped}

    def begin(self) -> None:
        """Start cri-o and the kubelet."""
        self.env["PATH"] = f"{BUILT}:{self.env['PATH']}"
        self.rootfs = Path(shutil.copytree(self.rootfs, self.directory / "rootfs", symlinks=True))
        (self.rootfs / "pause").write_text(PAUSE, encoding="ascii")
        for program in (self.rootfs / "pause", *(self.directory / "programs").iterdir()):
            program.chmod(0o755)
        super().begin()

    def take_image(self, archive: Path) -> None:
        """Put an image into the store that cri-o has."""
        where = f"containers-storage:[{self.driver}@{self.directory}/storage+{self.directory}/run]{IMAGE}"
        done = self.run("skopeo", "--insecure-policy", "copy", f"oci-archive:{archive}", where)
        assert done.code == 0, done

    def shims(self) -> list[int]:
        """Return the pids of all monitors: one for each container."""
        return self._programs("conmon", f"{self.directory}/")

    def ended(self, container: str) -> bool:
        """Say whether a container has no running process."""
        return not self._programs("conmon", f"{self.directory}/", container)

    def remove_pods(self) -> None:
        """Have no pod run, and remove what cri-o keeps of each: the kubelet does so minutes later."""
        for path in (self.directory / "manifests").iterdir():
            path.unlink()
        eventually(lambda: not self.pods(), "the kubelet knows no pod", 120)
        eventually(self._no_sandboxes, "all sandboxes are removed", 120)
        eventually(lambda: not self.shims(), "the monitors end", 120)

    def _no_sandboxes(self) -> bool:
        """Remove all sandboxes. Returns whether none was there; the kubelet may be at it, too, and win."""
        import grpc

        cri = Cri(f"{self.directory}/crio.sock")
        try:
            found = cri("ListPodSandbox").get("items", [])
            for sandbox in found:
                cri("StopPodSandbox", id=sandbox["id"])
                cri("RemovePodSandbox", id=sandbox["id"])
        except grpc.RpcError:
            return False
        finally:
            cri.close()
        return not found

    def end_sandboxes(self) -> None:
        """End those of pods that this kubelet does not know any more: there is nothing that runs in them."""


def there() -> bool:
    """Say whether there is a cri-o."""
    return (BUILT / "crio").exists()
