"""A podman of our own, with a store and a network directory of its own."""

import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import (
    PATH,
    RUNJAIL,
    Caller,
    in_its_own_state,
)

# A private configuration: see docs/callers.md. File locks, because the others are one per machine.
# Without limits of its own podman asks for more open files than some machines, containers themselves, can give.
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]

[engine]
lock_type = "file"
{json}
[engine.runtimes]
runjail = ["{program}"]

[network]
network_config_dir = "{directory}/networks"
"""


BARE = ["--security-opt=apparmor=unconfined", "--security-opt=label=disable", "--systemd=false", "--network=host"]
BARE += ["--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000"]
GLOBALS = "--storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime runjail"


THIN = (
    "--network=host --log-driver k8s-file --security-opt apparmor=unconfined "
    "--security-opt label=disable --systemd=false --no-hosts"
)


QUIET = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}  # podman 5 says on every machine with v1 that it is an old one


class Podman(Caller):
    """podman with everything it keeps below one directory, and one root file system."""

    def __init__(
        self, directory: Path, run: Path, rootfs: Path, ours: Leftovers, json: bool = True, root: bool = True
    ) -> None:
        self.directory, self.rootfs, self.state = directory, rootfs, directory / "state"
        configuration = directory / "containers.conf"
        supported = 'runtime_supports_json = ["runjail"]' if json else ""
        program = in_its_own_state(directory / "bin", self.state) if root else RUNJAIL
        text = CONFIGURATION.format(json=supported, program=program, directory=directory)
        configuration.write_text(text, encoding="ascii")
        self.env = {"PATH": PATH, "HOME": str(directory), "CONTAINERS_CONF": str(configuration), **QUIET}
        places = [f"--root={directory}/storage", f"--runroot={run}", f"--tmpdir={directory}/tmp"]
        self.command = ["podman", *places, *GLOBALS.split()]
        self.options = [*THIN.split(), f"--cgroup-parent=/{ours.group}", f"--env={ours.MARK}={ours.base}"]

    def words(self, options: str, *command: str) -> list[str]:
        """Return the words of `run` after podman's global options."""
        return ["run", *self.options, *shlex.split(options), "--rootfs", str(self.rootfs), *command]

    def detached(self, name: str, *command: str, options: str = "") -> str:
        """Run a container in the background. Returns its id."""
        done = self.run(f"-d --name {name} {options}", *command)
        assert done.code == 0, done
        return done.out.strip()

    def containers(self) -> list[str]:
        """Return the ids that runjail has; beside them are programs of seccomp profiles."""
        return [name for name in os.listdir(self.state) if not name.startswith("%")]

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what podman knows of a container's state."""
        found: dict[str, Any] = json.loads(self.ok("inspect", name).out)[0]["State"]
        return found


@pytest.fixture
def bare_podman(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The command of a podman with runc and everything of its own, and the environment it takes."""
    settings = tmp_path / "containers.conf"
    settings.write_text('[containers]\ndefault_ulimits=[]\n[engine]\nlock_type="file"\n')
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONTAINERS_CONF": str(settings), **QUIET}
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as run:  # podman takes at most 50 characters
        podman = ["podman", f"--root={tmp_path}/s", f"--runroot={run}", f"--tmpdir={tmp_path}/t"]
        podman += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=runc"]
        yield podman, env
