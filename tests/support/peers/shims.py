"""A containerd of our own whose containers run under our shim, and an image for them that needs no registry."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import PATH, RUNJAIL, Caller, Finished, eventually
from tests.support.processes import end, start_daemon

RUNTIME = "io.containerd.runjail.v1"
SHIM = RUNJAIL.parent / "containerd-shim-runjail-v1"
SOCKETS = Path("/run/containerd/s")
IMAGE = "localhost/machine:1"
CONFIGURATION = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"
{disabled}

[grpc]
  address = "{directory}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/machine:1"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runjail"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runjail]
      runtime_type = "io.containerd.runjail.v1"
"""
WITHOUT_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
CANNOT_RUN = [  # a program, and the reason that runc gives, which callers match
    ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
    ("nope", 'exec: "nope": executable file not found in $PATH'),
    ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
]


class Containerd(Caller):
    """containerd and ctr. `rootfs` is what containers run on that have no image.

    It is started with `start`, and may be killed and started again: its containers live on. binaries: the directory of
    another containerd than the system's.
    """

    def __init__(
        self,
        directory: Path,
        rootfs: Path,
        leftovers: Leftovers,
        cri: bool = False,
        settings: str = "",
        binaries: str = "",
    ) -> None:
        self.directory, self.rootfs, self.ours = directory, rootfs, leftovers
        self.state = directory / "state" / "runjail" / "default"
        self.command = ["ctr", "--address", str(directory / "containerd.sock")]
        places = [str(SHIM.parent), *filter(None, [binaries]), PATH]
        self.env = {"PATH": ":".join(places), leftovers.MARK: leftovers.base}  # the shims inherit the mark
        self.runtime = RUNTIME
        if settings:
            (directory / "runjail.toml").write_text(settings, encoding="ascii")
            self.env["RUNJAIL_CONFIG"] = str(directory / "runjail.toml")
        text = CONFIGURATION.format(
            directory=directory, disabled="" if cri else WITHOUT_CRI, snapshotter=snapshotter(directory)
        )
        (directory / "config.toml").write_text(text, encoding="ascii")
        self.start()

    def start(self) -> None:
        """Start containerd and wait until it answers."""
        words = ["containerd", "--config", str(self.directory / "config.toml")]
        self.process = start_daemon(words, self.directory / "log", self.env)
        eventually(lambda: self("version").code == 0, "containerd answers")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Stop containerd, or kill it."""
        end(self.process, number)

    def words(self, options: str, *command: str) -> list[str]:
        """Return the words of `ctr run`; options end with the container's id."""
        *given, id = options.split()
        place = ["--runtime", self.runtime, "--fifo-dir", str(self.directory / "fifo")]
        group = ["--cgroup", f"/{self.ours.group}/{id}", "--env", f"{self.ours.MARK}={self.ours.base}"]
        return ["run", *given, *place, *group, "--net-host", "--rootfs", str(self.rootfs), id, *command]

    def image_words(self, options: str, *command: str) -> list[str]:
        """Return the words of `ctr run` for a container with an image."""
        words = self.words(options, *command)
        at = words.index("--rootfs")
        return [*words[:at], "--snapshotter", snapshotter(self.directory), IMAGE, *words[at + 2 :]]

    def exec(self, options: str, *command: str, **more: Any) -> Finished:
        """Run one more process; options end with the container's id."""
        return self(*self.exec_words(options, *command), **more)

    def exec_words(self, options: str, *command: str) -> list[str]:
        """Return the words of `ctr task exec`."""
        *given, id = options.split()
        name = [] if "--exec-id" in given else ["--exec-id", "another"]
        return ["task", "exec", *name, "--fifo-dir", str(self.directory / "fifo"), *given, id, *command]

    def detached(self, id: str, *command: str) -> int:
        """Run a container in the background. Returns the pid of its init."""
        self.ok(*self.words(f"-d {id}", *command))
        return self.tasks()[id][0]

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Return pid and status of every task."""
        rows = [line.split() for line in self.ok("task", "ls").lines[1:]]
        return {id: (int(pid), status) for id, pid, status in rows}

    def stopped(self, id: str) -> None:
        """Wait until a container has stopped."""
        eventually(lambda: self.tasks()[id][1] == "STOPPED", f"{id} stops")

    @contextmanager
    def listening(self) -> Iterator[Callable[[], str]]:
        """Have containerd's events written down from now on; yields what returns those of until then, a line each.

        What comes is in order: so a label of the namespace, an event too, says that it listens, and that all is there.
        """
        path = self.directory / "events"
        with open(path, "wb") as file:
            listener = subprocess.Popen([*self.command, "events"], env=self.env, stdout=file)
        marks = itertools.count()

        def arrives() -> bool:
            mark = f"mark{next(marks)}"
            self.ok("namespaces", "label", "default", f"mark={mark}")
            with contextlib.suppress(AssertionError):
                eventually(lambda: f'"{mark}"' in path.read_text(encoding="utf-8"), "it is heard", 1)
            return f'"{mark}"' in path.read_text(encoding="utf-8")

        def said() -> str:
            eventually(arrives, "containerd's events come")
            return path.read_text(encoding="utf-8")

        try:
            said()
            yield said
        finally:
            end(listener)

    def remove(self, id: str) -> None:
        """Delete a container whose task has stopped or is killed first."""
        self("task", "delete", "--force", id)
        self.ok("container", "rm", id)

    def remove_everything(self) -> None:
        """Delete what a failed test left."""
        for id in self.ok("container", "ls", "-q").lines:
            self.remove(id)

    def import_image(self, *names: str) -> None:
        """Make an image of rootfs and import it, into ctr's namespace and others."""
        archive = self.directory / "image.tar"
        write_image(archive, self.rootfs)
        for namespace in ("default", *names):
            options = ["--snapshotter", snapshotter(self.directory)]
            self.ok("--namespace", namespace, "image", "import", *options, str(archive))

    def bundle(self, id: str) -> Path:
        """Return the bundle of a container."""
        return self.directory / "state" / "io.containerd.runtime.v2.task" / "default" / id

    def shim_pid(self, id: str) -> int:
        """Return the pid of a container's shim."""
        return int((self.bundle(id) / "shim.pid").read_text(encoding="ascii"))

    def shims(self) -> list[int]:
        """Return the pids of all shims of this containerd."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(SHIM).encode() in line and f"{self.directory}/containerd.sock".encode() in line:
                found.append(int(name))
        return found


def versions() -> list[str]:
    """Return where containerds are: "" for the system's, and those that .ci/unpack_peers has put beside it."""
    top = Path(__file__).resolve().parents[3]
    return ["", *sorted(str(path.parent) for path in top.glob(".peers/*/usr/bin/containerd"))]


def suite(place: str) -> str:
    """Return the name of such a place: Debian's suite."""
    return place.removesuffix("/usr/bin").rpartition("/")[2] or "own"


def snapshotter(directory: Path) -> str:
    """Return overlayfs where it can be mounted on this directory's file system, else native."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, check=True).stdout
    return "native" if "overlay" in kind else "overlayfs"


def write_image(archive: Path, rootfs: Path, *env: str) -> None:
    """Write an OCI layout as a tar file: one plain layer with the tree of rootfs, whose name is IMAGE.

    env: variables that its containers have, "NAME=VALUE".
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(rootfs, arcname=".")
    content = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin", *env], "Cmd": ["sleep", "86400"]},  # the stand-in of pause, too
        "rootfs": {"type": "layers", "diff_ids": [digest(content)]},
    }
    machine = {"x86_64": "amd64", "aarch64": "arm64"}
    config["architecture"] = machine.get(os.uname().machine, os.uname().machine)
    config_bytes = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(config_bytes, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(content, "application/vnd.oci.image.layer.v1.tar")],
    }
    manifest_bytes = json.dumps(manifest).encode()
    entry = described(manifest_bytes, "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1"}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(archive, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(tar, "index.json", index)
        for blob in (content, config_bytes, manifest_bytes):
            add(tar, "blobs/sha256/" + digest(blob).removeprefix("sha256:"), blob)


def digest(content: bytes) -> str:
    """Return the digest of a blob."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def described(content: bytes, media_type: str) -> dict[str, Any]:
    """Return a descriptor."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def kill(*pids: int) -> None:
    """Kill processes, and wait until they are gone or zombies."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        eventually(lambda pid=pid: not alive(pid), f"{pid} dies")  # type: ignore[misc]


def alive(pid: int) -> bool:
    """Say whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
