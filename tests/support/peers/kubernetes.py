"""A machine for Kubernetes in namespaces of its own: containerd with runc and runjail, and a kubelet.

Everything is started in one mount and one network namespace, with /run, /var/lib and /var/log in memory, so that what
kubelet and CNI leave there ends with the namespace. So do the settings of the kernel that the kubelet changes: files in
memory stand for them. Control groups are below one of the tests'.
"""

import contextlib
import functools
import gzip
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import PATH, RUNJAIL, Finished, call, eventually
from tests.support.peers.decrypting import Node
from tests.support.peers.kubernetes_settings import ADDRESS, containerd_settings, settings, words_of
from tests.support.peers.shims import write_image
from tests.support.processes import end, start_daemon

ALONE = """\
set -e
mount --make-rprivate / && mount --make-rshared /
for place in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 none $place; done
for name in {kernel}; do
    cat /proc/sys/$name > /run/${{name##*/}}
    mount --bind /run/${{name##*/}} /proc/sys/$name
done
ip link set lo up
ip link add node type bridge && ip address add {address}/24 dev node && ip link set node up
ip route add default dev node
echo ready
exec sleep 86400
"""
KERNEL = (  # what it sets at its start, for the whole machine: setupKernelTunables of its container manager
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
TOP = Path(__file__).resolve().parents[3]
BUILT = TOP / ".peers" / "kubernetes" / "bin"  # .ci/build_kubernetes puts them there
RUNTIMES = ("runc", "runjail", "runjail-runc")  # of containerd's configuration, docs/kubernetes.md


class Machine:
    """containerd and what is started beside it; each may be ended and started again, and pods live on.

    default: the runtime of pods that name none. binaries: the directory of the containerd that is meant, that of a
    containerd 2 without one.
    """

    engine = "containerd"

    def __init__(
        self, directory: Path, rootfs: Path, leftovers: Leftovers, default: str = "runc", binaries: str = ""
    ) -> None:
        self.directory, self.ours, self.rootfs, self.binaries = directory, leftovers, rootfs, binaries
        self.group = f"{leftovers.group}/{directory.name}"  # below which a kubelet ends whatever is not its own
        places = [str(RUNJAIL.parent), str(BUILT), PATH]
        places[1:1] = [binaries] if binaries else containerds()[-1:]
        self.env = {"PATH": ":".join(places), leftovers.MARK: leftovers.base, "HOME": str(directory)}
        self.node = Node(directory)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for name, text in {**settings(directory, self.group, self.engine), **self.configuration(default)}.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
        for group in groups(self.group):
            os.makedirs(group, exist_ok=True)
        self._namespaces()
        try:
            self.begin()
        except BaseException:
            self.end()
            raise

    def configuration(self, default: str) -> dict[str, str]:
        """Return the files that the engine reads, by their names. default: the runtime of pods that name none."""
        version = call(["containerd", "--version"], self.env).out.split()[2].removeprefix("v")
        return {"containerd.toml": containerd_settings(self.directory, self.node, default, int(version[0]))}

    def _namespaces(self) -> None:
        words = ["unshare", "--mount", "--net", "sh", "-c", ALONE.format(address=ADDRESS, kernel=" ".join(KERNEL))]
        self.holder = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, start_new_session=True)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == b"ready\n"
        self.inside = ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", "--"]

    def begin(self) -> None:
        """Start what this machine is made of."""
        self.start(self.engine)
        archive = self.directory / "image.tar"
        write_image(archive, self.rootfs, f"{self.ours.MARK}={self.ours.base}")
        self.take_image(archive)

    def take_image(self, archive: Path) -> None:
        """Give the engine an image."""
        eventually(lambda: self.ctr("version").code == 0, "containerd answers")
        done = self.ctr("image", "import", str(archive))
        assert done.code == 0, done

    def start(self, name: str) -> None:
        """Start one of its programs, by name."""
        words = [*self.inside, *words_of(name, self.directory)]
        self.running[name] = start_daemon(words, self.directory / f"{name}.log", self.env)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """End one of its programs."""
        end(self.running.pop(name), number)

    def run(self, *words: str, **more: Any) -> Finished:
        """Run a program there."""
        return call([*self.inside, *words], self.env, **more)

    def ctr(self, *words: str) -> Finished:
        """Run ctr in Kubernetes' namespace of containerd."""
        return self.run("ctr", "--address", f"{self.directory}/containerd.sock", "--namespace", "k8s.io", *words)

    def shims(self) -> list[int]:
        """Return the pids of all shims of this containerd."""
        return self._programs("containerd-shim-", f"{self.directory}/containerd.sock")

    def _programs(self, *words: str) -> list[int]:
        """Return the pids of processes whose command lines have all of these words in them."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
                if all(word in line for word in words):
                    found.append(int(pid))
        return found

    def end(self) -> None:
        """End everything; then the namespaces, and with them what is mounted."""
        for name in reversed(list(self.running)):
            self.stop(name)
        end(self.holder, signal.SIGKILL)
        assert self.holder.stdout
        self.holder.stdout.close()
        for top in groups(self.group):
            for path, _names, _files in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)


class Kubelet(Machine):
    """A machine whose kubelet has no cluster: its pods are files, and its own server tells about them.

    impossible: cases of pods.py that no runtime can do there.
    """

    impossible: tuple[str, ...] = ()

    @property
    def state_of_runjail(self) -> Path:
        """Where runjail has its containers."""
        return self.directory / "state" / "runjail" / "k8s.io"

    def begin(self) -> None:
        """Start the engine and the kubelet."""
        super().begin()
        (self.directory / "manifests").mkdir()
        self.start("kubelet-alone")
        eventually(lambda: self.ask("healthz").out == "ok", "the kubelet answers", 180)

    def ask(self, path: str, *options: str) -> Finished:
        """Ask the kubelet's server, with options of curl(1)."""
        return self.run("curl", "--silent", "--insecure", *options, f"https://{ADDRESS}:10250/{path}")

    def place(self, pod: dict[str, Any]) -> None:
        """Have a pod run."""
        prepared = self.directory / "prepared.json"
        prepared.write_text(json.dumps(pod), encoding="utf-8")
        prepared.rename(self.directory / "manifests" / f"{pod['metadata']['name']}.json")

    def forget(self, name: str) -> None:
        """Have a pod run no more."""
        (self.directory / "manifests" / f"{name}.json").unlink()

    def ended(self, container: str) -> bool:
        """Say whether a container has no running process."""
        lines = [line for line in self.ctr("task", "ls").lines if line.startswith(container)]
        return not any("RUNNING" in line for line in lines)

    def end_sandboxes(self) -> None:
        """End those of pods that this kubelet does not know any more: it has not made them."""
        for id in self.ctr("task", "ls", "-q").lines:
            self.ctr("task", "kill", "--signal", "KILL", id)

    def remove_pods(self) -> None:
        """Have no pod run, and wait until the last one has ended."""
        for path in (self.directory / "manifests").iterdir():
            path.unlink()
        eventually(lambda: not self.shims(), "the pods end", 120)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return all pods' statuses by their names."""
        items = json.loads(self.ask("pods").out)["items"] or []
        return {item["metadata"]["name"].removesuffix("-node"): item["status"] for item in items}

    def container(self, name: str) -> dict[str, Any]:
        """Return the status of a pod's only container, {} before it has one."""
        return dict((self.pods().get(name, {}).get("containerStatuses") or [{}])[0])

    def state(self, name: str) -> dict[str, Any]:
        """Return the state of a pod's only container: one key, `waiting`, `running` or `terminated`."""
        return dict(self.container(name).get("state", {}))

    def logs(self, name: str) -> str:
        """Return what a pod's container has printed."""
        return self.ask(f"containerLogs/default/{name}-node/main").out

    def exec(self, name: str, command: str) -> str:
        """Run a program, with words without spaces, in a pod's container. Returns what it prints, or the error."""
        return self.ask(f"run/default/{name}-node/main?cmd={quote(command)}", "--request", "POST").out


def groups(name: str) -> list[str]:
    """Return the directories of a control group, one for each hierarchy, whether they are there or not."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.procs").exists():
        return [str(top / name)]
    return [str(path / name) for path in top.iterdir() if not path.is_symlink() and os.path.ismount(path)]


@functools.cache
def containerds() -> list[str]:
    """Return where containerds are that a kubelet can be used with: the older ones first.

    .ci/unpack_peers puts them beside the system's, which is too old in Debian 12.
    """
    found = [str(path.parent) for path in TOP.glob(".peers/*/usr/bin/containerd")]
    return sorted(found, key=version)


def version(place: str) -> list[int]:
    """Return the version of a containerd as Debian's package says it, [] without: nothing runs to collect tests."""
    try:
        with gzip.open(Path(place).parent / "share/doc/containerd/changelog.Debian.gz", "rt", encoding="utf-8") as file:
            said = re.search(r"\((?:\d+:)?([\d.]+)", file.readline())
    except (OSError, EOFError):
        return []
    return [int(number) for number in said[1].split(".") if number] if said else []


def named(place: str) -> str:
    """Return the name of such a place: its directory below .peers."""
    return Path(place).relative_to(TOP / ".peers").parts[0]
