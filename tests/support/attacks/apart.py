"""A host of its own for an attack: a mount namespace, so that what the attack does to mounts stays there."""

import os
import subprocess
from pathlib import Path

from tests.support.program import Bundle, Runjail

# A hierarchy of cgroup v2 alone, as on machines without v1; none that could be written
ONLY_V2 = "mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup\n"
NO_GROUPS = "mount -t tmpfs -o ro tmpfs /sys/fs/cgroup\n"


class Apart:
    """Runs shell scripts, which run runjail, in a mount namespace of their own."""

    def __init__(self, runjail: Runjail, bundle: Bundle, out: Path) -> None:
        self.runjail, self.bundle, self.out = runjail, bundle, out

    def run(self, script: str, propagation: str = "private") -> str:
        """Run a shell script there, all of whose commands must work; return what it prints."""
        env = {
            "PATH": os.environ["PATH"],
            "RUNJAIL": f"{self.runjail.program} --root {self.runjail.root}",
            "BUNDLE": self.bundle.write(),
            "OUT": str(self.out),
        }
        # Private first: what others mount does not come here, nor does what an attack mounts go to the machine.
        script = f"mount --make-r{propagation} /\n{script}"
        command = ["unshare", "-m", "--propagation", "private", "sh", "-euc", script]
        out, err = self.out / "stdout", self.out / "stderr"  # no pipes: a container keeps them open
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_err, timeout=600, check=False
            )
        assert done.returncode == 0, err.read_text()
        return out.read_text()

    def give(self, *capabilities: str) -> None:
        """Give the container's processes capabilities."""
        sets = ("bounding", "effective", "permitted", "inheritable")
        named = [f"CAP_{name}" for name in capabilities]
        self.bundle.config["process"]["capabilities"] = dict.fromkeys(sets, named)

    def add_mount(self, destination: str, source: Path, *options: str) -> None:
        """Give the container a bind mount."""
        mount = {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}
        self.bundle.config["mounts"].append(mount)
