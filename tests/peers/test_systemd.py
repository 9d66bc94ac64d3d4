"""Containers as scopes of systemd, beside runc's: the same unit, property by property, and the same control group."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import is_alive, until
from tests.support.program import TOP, Bundle, Runjail

pytestmark = [
    pytest.mark.linux,
    pytest.mark.needs("systemd", "module jeepney"),
    pytest.mark.peers("runc"),
    pytest.mark.limit(1200),  # in an emulated guest, on a busy machine
]

TOP_GROUP = Path("/sys/fs/cgroup")
SLICE = "runjailtest-peer.slice"
# What two starts of one unit differ in: names, numbers of this start, what was used since, and which of its properties
# were there from the start and which, as files, came after it: runc sets all limits a second time
OWN = (
    "Id",
    "Names",
    "Description",
    "ControlGroup",
    "ControlGroupId",
    "InvocationID",
    "Job",
    "FragmentPath",
    "DropInPaths",
    "NeedDaemonReload",
)
USED = (
    "Timestamp",
    "CPUUsageNSec",
    "MemoryCurrent",
    "MemoryAvailable",
    "TasksCurrent",
    "Bytes",
    "Operations",
    "IPEgress",
)
FILES = (
    "memory.max",
    "memory.low",
    "memory.swap.max",
    "cpu.max",
    "cpu.weight",
    "pids.max",
    "cpuset.cpus",
    "cpuset.mems",
)
RESOURCES: dict[str, Any] = {
    "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
    "cpu": {"shares": 512, "quota": 12500, "period": 50000, "cpus": "0"},
    "pids": {"limit": 55},
    "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}],
}


class Runtime:
    """A runtime with a state root of its own; its containers lie in scopes `NAME-ID.scope` of our slice."""

    def __init__(self, program: str, name: str, directory: Path) -> None:
        self.command = [program, "--root", str(directory / name), "--systemd-cgroup"]
        self.name, self.made = name, set[str]()

    def __call__(self, *args: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # What a container's program inherits must not be a pipe that we wait for
        with open(os.devnull, "wb") as nowhere:
            if args[0] in ("create", "run") or "-d" in args:
                pipes["stdout"] = nowhere.fileno()
            return subprocess.run([*self.command, *args], text=True, timeout=200, check=False, **(pipes | more))  # type: ignore[call-overload,no-any-return]

    def ok(self, *args: str) -> str:
        """Run a verb that must work."""
        with open("/tmp/runjail-systemd-test.err", "w+b") as errors:
            done = self(*args, stderr=errors.fileno())
            errors.seek(0)
            assert done.returncode == 0, (args, errors.read())
        return done.stdout or ""

    def start(self, bundle: Bundle, id: str = "c", resources: "dict[str, Any] | None" = None, **linux: Any) -> str:
        """Create and start a container that sleeps; returns its unit."""
        own = {"cgroupsPath": f"{SLICE}:{self.name}:{id}", "resources": resources or {}}
        bundle.config["linux"] = {**bundle.config.get("linux", {}), **own, **linux}
        self.made.add(id)
        self.ok("create", "-b", bundle.write("/bin/sleep", "600"), id)
        self.ok("start", id)
        return f"{self.name}-{id}.scope"

    def state(self, id: str = "c") -> dict[str, Any]:
        """Return the state document."""
        document: dict[str, Any] = json.loads(self.ok("state", id))
        return document


@pytest.fixture
def ours(runjail: Runjail, tmp_path: Path) -> Iterator[Runtime]:
    """runjail; no unit stays behind."""
    runtime = Runtime(runjail.program, "runjail", tmp_path)
    yield runtime
    tidy(runtime)


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[Runtime]:
    """runc."""
    runtime = Runtime("runc", "runc", tmp_path)
    yield runtime
    tidy(runtime)


def tidy(runtime: Runtime) -> None:
    for id in runtime.made:
        runtime("delete", "--force", id)
        until(lambda id=id: not show(f"{runtime.name}-{id}.scope").get("ControlGroup"))
    assert [name for name in units() if name.startswith(f"{runtime.name}-")] == []


def units() -> list[str]:
    """Return the names of all scopes that systemd knows, failed ones too."""
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope"]
    return [
        line.split()[0]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ]


def show(unit: str) -> dict[str, str]:
    """Return a unit's properties."""
    said = subprocess.run(["systemctl", "show", "--all", unit], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def comparable(unit: str) -> dict[str, str]:
    """Return those properties that two units made alike have in common; devices in no order."""
    return {key: value for key, value in show(unit).items() if key not in OWN and not any(word in key for word in USED)}


def devices(unit: str) -> set[str]:
    """Return a unit's list of devices. runc 1.1 has names for numbers, and leaves out what is not there."""
    said = subprocess.run(["systemctl", "show", "-p", "DeviceAllow", unit], capture_output=True, text=True, check=True)
    found = {line.removeprefix("DeviceAllow=").replace("char-pts", "char-136") for line in said.stdout.splitlines()}
    return {line for line in found if not line.startswith("/") or os.path.exists(line.split()[0])}


def group(unit: str) -> Path:
    """Return a unit's control group."""
    return TOP_GROUP / show(unit)["ControlGroup"].lstrip("/")


def files(unit: str) -> dict[str, str]:
    """Return what limits a unit's control group has."""
    return {name: (group(unit) / name).read_text() for name in FILES if (group(unit) / name).exists()}


@pytest.mark.parametrize("resources", [{}, RESOURCES], ids=["no limits", "all limits"])
def test_a_scope_is_runcs_property_by_property(
    ours: Runtime, runc: Runtime, bundle: Bundle, resources: dict[str, Any]
) -> None:
    """CollectMode alone is ours: a unit whose creator was killed must not stay as a failed one."""
    mine, theirs = ours.start(bundle, resources=resources), runc.start(bundle, resources=resources)

    expected = comparable(theirs) | {"CollectMode": "inactive-or-failed"}
    found = comparable(mine)
    expected.pop("DeviceAllow", None), found.pop("DeviceAllow", None)
    assert {
        key: (found.get(key), expected.get(key)) for key in found | expected if found.get(key) != expected.get(key)
    } == {}
    assert devices(mine) == devices(theirs)
    assert files(mine) == files(theirs)
    assert show(mine)["Description"] == show(theirs)["Description"] == "libcontainer container c"
    assert (group(mine) / "cgroup.procs").read_text().split() == [str(ours.state()["pid"])]
    assert group(mine).parent == group(theirs).parent == TOP_GROUP / "runjailtest.slice" / SLICE


NO_SWAP: dict[str, Any] = {"memory": {"limit": 80 << 20, "swap": 80 << 20}}
UPDATES: list[dict[str, Any]] = [
    {"memory": {"limit": 80 << 20}},
    {"cpu": {"quota": 35000}},
    {"cpu": {"quota": -1, "period": 100000}},
    {"cpu": {"shares": 2048, "cpus": "0-1"}},
    {"pids": {"limit": -1}},
    NO_SWAP,
    {"memory": {"limit": -1, "swap": -1}},
]


def test_update_sets_what_runc_sets(ours: Runtime, runc: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """In the unit and in the group; `daemon-reload`, after which systemd writes all of it again, changes nothing."""
    mine, theirs = ours.start(bundle, resources=RESOURCES), runc.start(bundle, resources=RESOURCES)

    for change in UPDATES:
        (tmp_path / "change.json").write_text(json.dumps(change))
        for runtime in (ours, runc):
            runtime.ok("update", "-r", str(tmp_path / "change.json"), "c")
        expected, found = comparable(theirs) | {"CollectMode": "inactive-or-failed"}, comparable(mine)
        if change == NO_SWAP:  # runc writes the file alone, so that the next `daemon-reload` would give the swap back
            expected["MemorySwapMax"] = "0"
        assert {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]} == {}, change
        assert files(mine) == files(theirs), change

    before = files(mine)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert files(mine) == before


def test_stopping_the_scope_ends_the_container(ours: Runtime, bundle: Bundle) -> None:
    """An annotation says how long systemd waits between SIGTERM, which a first process ignores, and SIGKILL."""
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "uint64 1"}
    unit = ours.start(bundle)
    pid = ours.state()["pid"]
    assert show(unit)["TimeoutStopUSec"] == "1s"

    subprocess.run(["systemctl", "stop", unit], check=True, timeout=200)

    assert not is_alive(pid)
    assert ours.state()["status"] == "stopped"
    ours.ok("delete", "c")
    assert unit not in units()


def test_exec_joins_the_scope_and_delete_ends_it(ours: Runtime, bundle: Bundle) -> None:
    unit = ours.start(bundle)
    place = group(unit)
    ours.ok("exec", "-d", "c", "/bin/sleep", "500")
    assert len((place / "cgroup.procs").read_text().split()) == 2

    ours.ok("delete", "--force", "c")

    assert not place.exists()
    assert unit not in units()


def test_a_container_sees_its_scope_as_the_root_of_its_groups(ours: Runtime, bundle: Bundle) -> None:
    """Init is in the scope before it makes its namespace of control groups."""
    kinds = ["pid", "mount", "uts", "ipc", "cgroup"]
    ours.start(bundle, namespaces=[{"type": kind} for kind in kinds])

    assert ours.ok("exec", "c", "/bin/cat", "/proc/self/cgroup") == "0::/\n"


def test_the_device_policy_holds_and_stays_after_a_reload(ours: Runtime, bundle: Bundle) -> None:
    bundle.config["process"]["capabilities"] = {kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")}
    ours.start(bundle, resources=RESOURCES)
    script = "mknod /m c 1 5; mknod /k c 1 2; head -c1 /m >/dev/null && ! head -c1 /k && ! echo > /m; rm -f /m /k"

    for _ in range(2):
        assert ours("exec", "c", "/bin/sh", "-c", f"{{ {script}; }} 2>/dev/null").returncode == 0
        subprocess.run(["systemctl", "daemon-reload"], check=True)


def test_a_unit_of_somebody_else_is_left_alone(ours: Runtime, runc: Runtime, bundle: Bundle) -> None:
    """One error, and what the other has of this name goes on."""
    unit = runc.start(bundle)
    bundle.config["linux"]["cgroupsPath"] = f"{SLICE}:runc:c"

    done = ours("create", "-b", bundle.write(), "c")

    assert done.returncode == 1
    assert "systemd has a unit runc-c.scope already" in done.stderr
    assert show(unit)["ActiveState"] == "active"
    assert is_alive(runc.state()["pid"])
    assert ours("state", "c").returncode == 1


def test_the_scope_of_a_later_container_is_left_alone(ours: Runtime, runc: Runtime, bundle: Bundle) -> None:
    """Ours has stopped, its scope is gone, another runtime has one of this name by now: `delete` must not stop it."""
    unit = ours.start(bundle)
    os.kill(ours.state()["pid"], signal.SIGKILL)
    until(lambda: unit not in units())
    bundle.config["linux"]["cgroupsPath"] = f"{SLICE}:runjail:c"
    runc.made.add("c")
    runc.ok("create", "-b", bundle.write(), "c")

    ours.ok("delete", "c")

    assert show(unit)["ActiveState"] == "active"
    assert runc.state()["status"] == "created"
    runc.ok("delete", "--force", "c")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a/b", 'expected cgroupsPath to be of format "slice:prefix:name"'),
        ("a.slice:b", 'expected cgroupsPath to be of format "slice:prefix:name"'),
        ("noslice:b:c", "invalid slice name: noslice"),
        ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
        ("a/b.slice:b:c", "invalid slice name: a/b.slice"),
    ],
)
def test_paths_that_runc_refuses_are_refused(
    ours: Runtime, runc: Runtime, bundle: Bundle, path: str, text: str
) -> None:
    bundle.config["linux"]["cgroupsPath"] = path
    bundle.write()

    refused = runc("create", "-b", str(bundle.path), "c")
    mine = ours("create", "-b", str(bundle.path), "c")

    assert refused.returncode == mine.returncode == 1
    assert text in refused.stderr.replace('\\"', '"')
    assert "linux.cgroupsPath: " in mine.stderr
    assert (text.removeprefix("expected cgroupsPath to be of format ") in mine.stderr) or text in mine.stderr


def test_systemds_own_socket_does_without_a_bus(ours: Runtime, bundle: Bundle) -> None:
    """Where dbus is not installed root asks systemd itself, as runc does."""
    bundle.config["linux"]["cgroupsPath"] = f"{SLICE}:runjail:c"
    ours.made.add("c")
    hide = 'mount --make-rprivate / && mount --bind /dev/null /run/dbus/system_bus_socket && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", hide, "sh", *ours.command, "create", "-b", bundle.write(), "c"]
    with open(os.devnull, "wb") as nowhere, open(bundle.path / "errors", "w+b") as errors:
        done = subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=errors, check=False)
        assert done.returncode == 0, (bundle.path / "errors").read_text()

    assert show("runjail-c.scope")["ActiveState"] == "active"
    ours.ok("delete", "--force", "c")


@pytest.mark.slow
def test_a_creator_that_is_killed_leaves_nothing_after_delete(ours: Runtime, bundle: Bundle) -> None:
    """At instants that spread over all of `create`."""
    bundle.config["linux"]["cgroupsPath"] = f"{SLICE}:runjail:c"
    bundle.write()
    began = time.monotonic()
    ours.made.add("c")
    ours.ok("create", "-b", str(bundle.path), "c")
    whole = time.monotonic() - began
    ours.ok("delete", "--force", "c")

    for part in range(1, 20):
        with open(os.devnull, "wb") as nowhere:
            command = [*ours.command, "create", "-b", str(bundle.path), "c"]
            creator = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
            time.sleep(whole * part / 20)
            creator.kill()
            creator.wait()
        ours("delete", "--force", "c")
        until(lambda: "runjail-c.scope" not in units())
        assert not (TOP_GROUP / "runjailtest.slice" / SLICE / "runjail-c.scope").exists()
        assert ours("state", "c").returncode == 1


USER_SCOPE = """
import subprocess, sys
from runjail.host.linux import systemd
assert systemd.rootless()
sleeper = subprocess.Popen(["sleep", "60"])
with systemd.Manager(True) as manager:
    properties = [("Slice", "s", "user.slice"), ("PIDs", "au", (sleeper.pid,)), ("Delegate", "b", True)]
    manager.start("runjail-user.scope", properties)
    print(manager.control_group(), open(f"/proc/{sleeper.pid}/cgroup").read().strip(), manager.version() > 200)
    manager.set("runjail-user.scope", [("TasksMax", "t", 77)])
    assert manager.invocation("runjail-user.scope")
    manager.stop("runjail-user.scope")
    assert manager.invocation("runjail-user.scope") == ""
print(sleeper.wait())
"""


@pytest.mark.needs("loginctl", "setpriv", "loginctl")
def test_a_user_asks_the_users_systemd() -> None:
    """Over the bus of that user, whose manager has a control group of its own."""
    subprocess.run(["loginctl", "enable-linger", "tester"], check=True)
    until(lambda: os.path.exists("/run/user/1000/bus"), 60)
    shutil.copytree(TOP / "runjail", "/home/tester/runjail", dirs_exist_ok=True)
    path = ":".join(["/home/tester", *(entry for entry in sys.path if entry.endswith("-packages"))])
    packages = Path("/home/tester/packages")
    shutil.copytree(
        next(Path(p) / "jeepney" for p in sys.path if (Path(p) / "jeepney").is_dir()),
        packages / "jeepney",
        dirs_exist_ok=True,
    )
    env = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": "/run/user/1000", "PYTHONPATH": f"/home/tester:{packages}"}
    user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]

    done = subprocess.run(
        [*user, "/usr/bin/python3", "-c", USER_SCOPE], env=env, cwd="/", capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    group, where, newer = done.stdout.splitlines()[0].split()
    assert where == f"0::/{group}/user.slice/runjail-user.scope"
    assert (newer, done.stdout.splitlines()[1]) == ("True", "-15"), path
