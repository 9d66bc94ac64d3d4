"""Who takes part in the bench of images: our stores, a bundle without any, podman and containerd's ctr."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.support.image.oci import Containerd  # noqa: E402  # programs may be started from anywhere
from tests.support.machine_root import make_root  # noqa: E402

RUNJAIL = str(TOP / ".venv/bin/runjail")
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")  # podman's own are more than some machines have
ACCOUNTING = "/sys/fs/cgroup/cpuacct"  # control groups v1; elsewhere processor time is not measured

Times = dict[str, list[float]]  # seconds by what was done; with " cpu" behind it those of processors


class Processor:
    """Counts processor time of processes that join it, and of all that they start; 0 where nobody counts."""

    def __init__(self, name: str) -> None:
        self._group = Path(ACCOUNTING, f"runjail-bench-{os.getpid()}-{name}")
        self.counts = os.access(ACCOUNTING, os.W_OK)
        if self.counts:
            self._group.mkdir(exist_ok=True)

    def join(self, pid: int = 0) -> None:
        """Move a process, with all its threads; 0 is who calls."""
        if self.counts:
            (self._group / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def seconds(self) -> float:
        """Return what was used so far."""
        return int((self._group / "cpuacct.usage").read_text(encoding="ascii")) / 1e9 if self.counts else 0.0

    def close(self) -> None:
        """Remove the group, once nobody is in it."""
        if self.counts and self._group.is_dir():
            for pid in (self._group / "cgroup.procs").read_text(encoding="ascii").split():
                Path(ACCOUNTING, "cgroup.procs").write_text(pid, encoding="ascii")
            self._group.rmdir()


class Candidate:
    """A program with a store of its own below a directory. seconds: by what was done."""

    def __init__(self, name: str, directory: Path, reference: str, store: str = "") -> None:
        self.name, self.directory, self.reference = name, directory / name, reference
        self.store = store or f"{name}:{self.directory}/store"
        self.processor = Processor(f"{directory.name}-{name}")
        self.directory.mkdir()

    def words(self, number: int) -> list[str]:
        """Return a command line that runs the image, pulled if need be, and leaves no container."""
        ours = [RUNJAIL, "--root", str(self.directory / "state"), "--store", self.store]
        return [*ours, "run", "--image", self.reference, f"b{number}", "--", "true"]

    def commands(self, number: int) -> list[list[str]]:
        """Return the command lines of one run, one after the other."""
        return [self.words(number)]

    def close(self) -> None:
        """Leave nothing but the directory."""
        self.processor.close()

    def run(self, number: int) -> tuple[float, float]:
        """Do it once. Returns seconds of the clock and of processors."""
        used, begun = self.processor.seconds(), time.perf_counter()
        for words in self.commands(number):
            done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=self.processor.join)
            if done.returncode:
                raise SystemExit(f"{self.name} failed: {done.stderr.strip()}")
        return time.perf_counter() - begun, self.processor.seconds() - used


class Bundle(Candidate):
    """The same program in a bundle: what a run costs without images."""

    def words(self, number: int) -> list[str]:
        """Return a command line; the bundle is made at the first."""
        bundle = self.directory / "bundle"
        if not bundle.is_dir():
            make_root(str(bundle / "rootfs"))
            subprocess.run([RUNJAIL, "spec", "--bundle", str(bundle)], check=True)
            config = json.loads((bundle / "config.json").read_text())
            config["process"] |= {"terminal": False, "args": ["/bin/true"], "env": ["PATH=/bin"]}
            (bundle / "config.json").write_text(json.dumps(config))
        return [RUNJAIL, "--root", str(self.directory / "state"), "run", "--bundle", str(bundle), f"b{number}"]


class Podman(Candidate):
    """podman with runc and directories of its own."""

    driver = "overlay"

    def __init__(self, name: str, directory: Path, reference: str, store: str = "") -> None:
        super().__init__(name, directory, reference, store)
        self._runroot = tempfile.mkdtemp(prefix="bench-", dir="/tmp")  # its path has 50 characters at most

    def close(self) -> None:
        """Remove what else it has."""
        super().close()
        shutil.rmtree(self._runroot, ignore_errors=True)

    def words(self, number: int) -> list[str]:
        """Return a command line; hosts without systemd are fine with it."""
        places = ["--root", str(self.directory / "root"), "--runroot", self._runroot]
        how = ["--storage-driver", self.driver, "--cgroup-manager", "cgroupfs", "--runtime", shutil.which("runc") or ""]
        alike = ["--rm", *LIMITS, "--network=host", "--log-driver=none", "--tls-verify=false"]
        return ["podman", *places, *how, "run", *alike, self.reference, "true"]


class PodmanVfs(Podman):
    """The same with whole directories: each layer is a copy of all below it, and so is a container's root."""

    driver = "vfs"


class Ctr(Candidate):
    """containerd's ctr with the snapshotter overlayfs and runc; containerd itself runs all the time."""

    def __init__(self, directory: Path, reference: str, containerd: Containerd) -> None:
        super().__init__("ctr", directory, reference)
        self._containerd = containerd
        self.processor.join(containerd.pid)

    def commands(self, number: int) -> list[list[str]]:
        """Return a pull, for the first run, and a run."""
        pull = self._containerd.words("image", "pull", "--plain-http", "--snapshotter", "overlayfs", self.reference)
        how = ["--rm", "--net-host", "--snapshotter", "overlayfs", "--runc-binary", shutil.which("runc") or ""]
        run = self._containerd.words("run", *how, self.reference, f"b{number}", "/bin/true")
        return [run] if number else [pull, run]
