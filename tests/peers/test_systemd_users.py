"""Containers of an ordinary user as scopes of that user's systemd, beside runc's: what is delegated limits them."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import is_alive, until
from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail, base_config

pytestmark = [
    pytest.mark.linux,
    pytest.mark.needs("systemd", "module jeepney", "ordinary user", "loginctl", "setpriv"),
    pytest.mark.peers("runc"),
]
RESOURCES: dict[str, Any] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 44}}
FILES = ("memory.max", "pids.max")


class Users:
    """Runtimes as an ordinary user calls them, whose manager of services runs."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.user = directory, pwd.getpwnam(name)
        run = f"/run/user/{self.user.pw_uid}"
        self.env = {"PATH": os.defpath + ":/usr/sbin", "XDG_RUNTIME_DIR": run, "HOME": str(directory)}
        self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={run}/bus"
        subprocess.run(["loginctl", "enable-linger", name], check=True)
        until(lambda: os.path.exists(f"{run}/bus"), 200)

    def __call__(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program that must work; its output is a file, which a container may keep."""
        who = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups"]
        with open(self.directory / "output", "w+b") as output:
            done = subprocess.run(
                [*who, *command],
                env=self.env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=200,
            )
        text = (self.directory / "output").read_text(encoding="utf-8")
        assert done.returncode == 0, (command, text)
        return subprocess.CompletedProcess(command, 0, text)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit of the user's manager."""
        said = self("systemctl", "--user", "show", *(f"--property={name}" for name in names), unit).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


@pytest.fixture
def users(place: Path) -> Users:
    """The user `tester`, who has a home and a manager of services in the guest of `make test-vm`."""
    try:
        return Users(place, "tester")
    except KeyError:
        pytest.skip("needs a user of the name tester: make test-vm")


@pytest.fixture
def bundle(users: Users, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Bundle:
    """A bundle of that user's, with a user namespace and limits."""
    shutil.copytree(machine_rootfs, place / "bundle" / "rootfs", symlinks=True)
    config = base_config(leftovers)
    uid, gid = users.user.pw_uid, users.user.pw_gid
    own = {
        name: [{"containerID": 0, "hostID": id, "size": 1}] for name, id in (("uidMappings", uid), ("gidMappings", gid))
    }
    config["linux"] |= {**own, "resources": RESOURCES}
    config["linux"]["namespaces"].append({"type": "user"})
    made = Bundle(place / "bundle", config)
    made.write("/bin/sleep", "600")
    for path in (place, *place.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)
    return made


@pytest.fixture
def runtimes(users: Users, runjail: Runjail, place: Path) -> Iterator[dict[str, list[str]]]:
    """Both runtimes with states of that user's; no container stays."""
    made = {
        name: [program, "--root", f"{place}/{name}", "--systemd-cgroup"]
        for name, program in (("runjail", runjail.program), ("runc", "runc"))
    }
    yield made
    for command in made.values():
        users(*command, "delete", "--force", "c")


def started(users: Users, command: list[str], bundle: Bundle, name: str) -> str:
    """Create and start a container; returns its unit."""
    bundle.config["linux"]["cgroupsPath"] = f"user.slice:{name}:c"
    bundle.write("/bin/sleep", "600")
    users(*command, "create", "-b", str(bundle.path), "c")
    users(*command, "start", "c")
    return f"{name}-c.scope"


def group_of(users: Users, unit: str) -> Path:
    """Return the control group of a unit."""
    return Path("/sys/fs/cgroup" + users.show(unit, "ControlGroup")["ControlGroup"])


@pytest.mark.limit(900)
def test_a_life_in_a_scope_beside_runcs(users: Users, bundle: Bundle, runtimes: dict[str, list[str]]) -> None:
    """The same place and limits; an update changes them, exec joins them, a stop of the scope is the end."""
    ours, theirs = (started(users, runtimes[name], bundle, name) for name in ("runjail", "runc"))
    properties = ("Slice", "MemoryMax", "TasksMax", "Delegate", "Description")
    assert users.show(ours, *properties) == users.show(theirs, *properties)
    groups = [group_of(users, unit) for unit in (ours, theirs)]
    assert groups[0].parent == groups[1].parent
    assert [(groups[0] / file).read_text() for file in FILES] == [f"{64 << 20}\n", "44\n"]
    assert [(groups[1] / file).read_text() for file in FILES] == [f"{64 << 20}\n", "44\n"]

    users(*runtimes["runjail"], "update", "--memory", "80m", "--pids-limit", "33", "c")
    assert [(groups[0] / file).read_text() for file in FILES] == [f"{80 << 20}\n", "33\n"]
    assert users.show(ours, "MemoryMax", "TasksMax") == {"MemoryMax": str(80 << 20), "TasksMax": "33"}
    outside = users(*runtimes["runjail"], "exec", "c", "/bin/cat", "/proc/self/cgroup").stdout
    assert "the process is not in control group" in outside, "root's service called us, as sudo does"
    inside = ("systemd-run", "--user", "--scope", "--quiet")
    users(*inside, *runtimes["runjail"], "exec", "-d", "c", "/bin/sleep", "500")
    pids = [int(pid) for pid in (groups[0] / "cgroup.procs").read_text().split()]
    assert len(pids) == 2

    users("systemctl", "--user", "kill", "--signal=KILL", ours)
    until(lambda: not any(map(is_alive, pids)), 200)
    users(*runtimes["runjail"], "delete", "c")
    until(lambda: not groups[0].exists(), 200)
    assert users.show(ours, "ActiveState") == {"ActiveState": "inactive"}
    assert users.show(theirs, "ActiveState") == {"ActiveState": "active"}
