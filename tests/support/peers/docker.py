"""A dockerd of our own with runc and runjail as its runtimes, and docker to talk to it."""

import hashlib
import json
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import PATH, RUNJAIL, Caller, eventually
from tests.support.peers.shims import SOCKETS
from tests.support.processes import start_daemon

IMAGE = "machine"
RUNTIMES: dict[str, Any] = {  # docs/callers.md
    "runjail": {"path": "/usr/local/bin/runjail", "runtimeArgs": ["--debug"]},
    "runjail-shim": {"runtimeType": "io.containerd.runjail.v1"},  # since Docker 23
}
SHIM_SINCE = 23
# No bridge and no rules of iptables, which not every machine lets one make; groups below one of ours
ALONE: dict[str, Any] = {
    "bridge": "none",
    "iptables": False,
    "ip-forward": False,
    "ip-masq": False,
    "storage-driver": "vfs",
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
}


class Docker(Caller):
    """dockerd, whose containers outlive it, with everything it keeps below one directory.

    directory: with a short name, because sockets are in it. binaries: directories of another docker than the system's.
    settings: more of daemon.json. inside: words that stand before dockerd's, which end in exec(2).
    """

    def __init__(
        self,
        directory: Path,
        rootfs: Path,
        leftovers: Leftovers,
        binaries: tuple[str, ...] = (),
        settings: dict[str, Any] | None = None,
        inside: tuple[str, ...] = (),
    ) -> None:
        self.directory, self.ours, self.runtime, self.inside = directory, leftovers, "runc", inside
        self.env = {"PATH": ":".join([*binaries, str(RUNJAIL.parent), PATH]), "HOME": str(directory)}
        self.env[leftovers.MARK] = leftovers.base  # the shims inherit the mark
        client = shutil.which("docker", path=":".join([*binaries, "/usr/bin", PATH])) or "docker"
        self.command = [client, "--host", f"unix://{directory}/sock"]
        version = subprocess.run(["dockerd", "--version"], env=self.env, capture_output=True, text=True, check=True)
        self.major = int(version.stdout.split()[2].partition(".")[0])
        self._configure(settings or {})
        self.start()
        self._import(rootfs)

    def _configure(self, given: dict[str, Any]) -> None:
        places = {"data-root": "root", "exec-root": "exec", "pidfile": "pid"}
        settings = {name: f"{self.directory}/{place}" for name, place in places.items()}
        runtimes = dict(RUNTIMES, runjail={**RUNTIMES["runjail"], "path": str(RUNJAIL)})
        if self.major < SHIM_SINCE:
            del runtimes["runjail-shim"]
        more = {
            "hosts": [f"unix://{self.directory}/sock"],
            "cgroup-parent": f"/{self.ours.group}",
            "live-restore": True,
        }
        document = {**settings, **ALONE, **more, "runtimes": runtimes, **given}
        (self.directory / "daemon.json").write_text(json.dumps(document), encoding="ascii")

    def start(self) -> None:
        """Start dockerd and wait until it answers. It gives its containerd 15 seconds: some tries.

        It takes a containerd for running whose process is a zombie, and would lose the first try to that.
        """
        (self.directory / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        for _ in range(3):
            self._start()
            eventually(lambda: self("version").code == 0 or self.process.poll() is not None, "dockerd answers")
            if self.process.poll() is None:
                return
        raise AssertionError((self.directory / "log").read_text(encoding="utf-8")[-4000:])

    def _start(self) -> None:
        words = [*self.inside, "dockerd", "--config-file", str(self.directory / "daemon.json")]
        self.process = start_daemon(words, self.directory / "log", self.env)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Stop dockerd, or kill it; its containerd ends with it, shims and containers go on."""
        own = self.children()
        self.process.send_signal(number)
        self.process.wait(60)
        eventually(lambda: all(map(dead, own)), "its containerd ends")

    def _import(self, rootfs: Path) -> None:
        archive = self.directory / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(rootfs, arcname=".")
        self.ok("import", "--change", "ENV PATH=/bin:/usr/bin", str(archive), IMAGE)

    def words(self, options: str, *command: str) -> list[str]:
        """Return the words of `docker run`; without a network where the options name none."""
        given = options.split()
        network = [] if "--network" in options else ["--network=none"]
        mark = f"--env={self.ours.MARK}={self.ours.base}"
        return ["run", f"--runtime={self.runtime}", mark, *network, *given, IMAGE, *command]

    def detached(self, *command: str, options: str = "") -> str:
        """Run a container `web` in the background. Returns its id."""
        done = self.run(f"-d --name web {options}", *command)
        assert done.code == 0, done
        return done.out.strip()

    def state(self, name: str = "web") -> dict[str, Any]:
        """Return what docker knows of a container's state."""
        found: dict[str, Any] = json.loads(self.ok("inspect", name).out)[0]["State"]
        return found

    def status(self, name: str = "web") -> tuple[str, int]:
        """Return status and exit code of a container."""
        state = self.state(name)
        return state["Status"], state["ExitCode"]

    def socket(self, id: str) -> Path:
        """Return the path of the socket that the shim of a container listens at."""
        name = f"{self.directory}/exec/containerd/containerd.sock/moby/{id}"
        return SOCKETS / hashlib.sha256(name.encode()).hexdigest()

    def needs(self, runtime: str) -> None:
        """Skip the test where this docker cannot have the runtime."""
        if runtime == "runjail-shim" and self.major < SHIM_SINCE:
            pytest.skip(f"docker {self.major} has no runtimes by the name of their shim")

    def children(self) -> list[int]:
        """Return the pids of dockerd's own processes: its containerd."""
        listed = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in listed for pid in file.read_text(encoding="ascii").split()]

    def remove_everything(self) -> None:
        """Remove all containers."""
        if ids := self.ok("ps", "-aq").lines:
            self.ok("rm", "--force", *ids)


def versions() -> list[str]:
    """Return where dockers are: "" for the system's, and those that .ci/unpack_peers has put beside it."""
    top = Path(__file__).resolve().parents[3]
    return ["", *sorted(str(path.parent.parent) for path in top.glob(".peers/*/usr/sbin/dockerd"))]


def dead(pid: int) -> bool:
    """Say whether a process is gone, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def unmount_own(directory: Path) -> None:
    """Unmount what a dockerd that was killed leaves: the namespace of the host's network, and its store."""
    for own in ("exec/netns/default", "root"):
        subprocess.run(["umount", directory / own], check=False, capture_output=True)
