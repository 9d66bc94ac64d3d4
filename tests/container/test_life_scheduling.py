"""Schedulers, CPUs, memory policies, personalities and clocks: seen from inside, and beside crun where it has them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life

pytestmark = pytest.mark.linux
CLOCKS = "cat /proc/self/timens_offsets"
OFFSETS = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": 1337, "nanosecs": 3141519}}
AHEAD = ["monotonic", "7881", "2718281", "boottime", "1337", "3141519"]
POLICY = {"policy": "SCHED_BATCH", "nice": 7}
OTHERS = {"policy": "SCHED_IDLE"}


def of(pid: int) -> tuple[int, int]:
    """Return a process's scheduling policy and nice value."""
    return os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)


def ran(life: Life, tmp_path: Path, **document: Any) -> int:
    """Start a process in the container by a document of exec; returns its pid."""
    document = {"args": ["/bin/sleep", "600"], "cwd": "/", "env": ["PATH=/bin"], **document}
    (tmp_path / "process.json").write_text(json.dumps(document))
    life.runjail.ok("exec", "-d", "--pid-file", str(tmp_path / "pid"), "-p", str(tmp_path / "process.json"), "c")
    return int((tmp_path / "pid").read_text())


def has_time(life: Life, **linux: Any) -> None:
    life.bundle.config["linux"]["namespaces"].append({"type": "time"})
    life.bundle.config["linux"].update(linux)


def test_a_scheduler_is_of_init_and_of_an_exec_that_names_none(life: Life, tmp_path: Path) -> None:
    life.start("/bin/sleep", "600", scheduler=POLICY)

    assert of(life.runjail.state("c")["pid"]) == (os.SCHED_BATCH, 7)
    assert of(ran(life, tmp_path)) == (os.SCHED_BATCH, 7)
    assert of(ran(life, tmp_path, scheduler=OTHERS))[0] == os.SCHED_IDLE


def test_deadlines(life: Life, tmp_path: Path) -> None:
    """Who has them may not fork: the last process on the way in gets them."""
    times = {"runtime": 42000, "deadline": 100000, "period": 1000000}
    deadline = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], **times}
    life.sleep()
    pid = ran(life, tmp_path, scheduler=deadline)

    assert os.sched_getscheduler(pid) == 6 | os.SCHED_RESET_ON_FORK


def test_a_scheduler_that_the_kernel_refuses_leaves_nothing(life: Life) -> None:
    result = life.runjail("create", "-b", life.bundle.write(scheduler={"policy": "SCHED_ISO"}), "c")

    assert (result.returncode, result.stderr) == (1, "runjail: setting the scheduler SCHED_ISO: invalid argument\n")
    life.gone()


def test_a_hook_inside_is_scheduled_like_the_program(life: Life) -> None:
    script = "cut -d' ' -f19 /proc/self/stat > /tmp/nice"
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    life.start("/bin/sleep", "600", scheduler=POLICY)

    assert (life.bundle.rootfs / "tmp/nice").read_text() == "7\n"


@pytest.mark.needs("ionice")
def test_io_priorities(life: Life, tmp_path: Path) -> None:
    def priority(pid: int) -> str:
        return subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True).stdout

    life.start("/bin/sleep", "600", ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4})

    assert priority(life.runjail.state("c")["pid"]) == "best-effort: prio 4\n"
    assert priority(ran(life, tmp_path)) == "best-effort: prio 4\n"
    assert priority(ran(life, tmp_path, ioPriority={"class": "IOPRIO_CLASS_IDLE"})) == "idle\n"


def test_the_cpus_of_an_exec(life: Life, tmp_path: Path) -> None:
    """They are not init's. One that the machine lacks is an error."""
    before = os.sched_getaffinity(0)
    one = min(before)
    life.start("/bin/sleep", "600", execCPUAffinity={"initial": str(one), "final": str(one)})

    assert os.sched_getaffinity(life.runjail.state("c")["pid"]) == before
    assert os.sched_getaffinity(ran(life, tmp_path)) == {one}
    assert os.sched_getaffinity(ran(life, tmp_path, execCPUAffinity={"initial": str(max(before))})) == {max(before)}
    (tmp_path / "process.json").write_text(
        json.dumps({"args": ["/bin/true"], "cwd": "/", "execCPUAffinity": {"final": "4000"}})
    )
    failed = life.runjail("exec", "-p", str(tmp_path / "process.json"), "c")
    assert (failed.returncode, failed.stderr) == (255, "runjail: setting execCPUAffinity.final: invalid argument\n")


ALLOWED = "awk '/Cpus_allowed_list/ {print $2}' /proc/self/status"


@pytest.mark.parametrize(
    "users", [False, pytest.param(True, id="user namespace", marks=pytest.mark.needs("user namespaces"))]
)
def test_the_cpus_of_our_caller_are_not_the_containers(life: Life, users: bool) -> None:
    """runc since 1.3: init, exec and hooks have all CPUs that their control group has."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one CPU")
    every = life.says(ALLOWED)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; {ALLOWED} >/dev/shm/hook"], "env": ["PATH=/bin"]}
    life.bundle.config["hooks"] = {"startContainer": [hook]}
    life.bundle.config["mounts"].append({"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs"})
    if users:
        ids = [{"containerID": 0, "hostID": 0, "size": 65536}]
        life.bundle.config["linux"] |= {"uidMappings": ids, "gidMappings": ids}
        life.bundle.config["linux"]["namespaces"].append({"type": "user"})
    os.sched_setaffinity(0, {min(before)})
    try:
        life.start("/bin/sh", "-c", f"{ALLOWED}; exec sleep 600")
        said = life.runjail.ok("exec", "c", "/bin/sh", "-c", f"{ALLOWED}; cat /dev/shm/hook").stdout
        of_init = os.sched_getaffinity(life.runjail.state("c")["pid"])
    finally:
        os.sched_setaffinity(0, before)

    assert said == every * 2
    assert of_init == before


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its name with 32 bits")
def test_a_machine_of_32_bits(life: Life) -> None:
    assert life.says("uname -m") == "x86_64\n"
    life.bundle.config["linux"]["personality"] = {"domain": "LINUX32", "flags": []}

    assert life.says("uname -m") == "i686\n"
    life.sleep()
    assert life.runjail.ok("exec", "c", "/bin/uname", "-m").stdout == "i686\n"


@pytest.mark.needs("libseccomp")
def test_a_personality_that_a_profile_forbids_to_change(life: Life) -> None:
    """It is taken on before the profile is."""
    life.bundle.config["linux"]["personality"] = {"domain": "LINUX"}
    life.bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}],
    }

    assert life.says("echo on") == "on\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="a kernel without NUMA")
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "prefer=relative:0"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
def test_where_memory_lies(life: Life, policy: dict[str, Any], said: str) -> None:
    """runc's own cases (tests/integration/memorypolicy.bats)."""
    life.bundle.config["linux"]["memoryPolicy"] = policy
    script = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2"

    assert life.says(script) == f"{said}\n"
    life.sleep()
    assert life.runjail.ok("exec", "c", "/bin/sh", "-c", script).stdout == f"{said}\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="a kernel without NUMA")
def test_nodes_that_the_machine_lacks(life: Life) -> None:
    life.bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "900"}
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert result.stderr.startswith("runjail: setting the memory policy MPOL_BIND: invalid argument")
    life.gone()


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/time"), reason="a kernel without time namespaces")
class TestClocks:
    """Time namespaces."""

    def test_without_offsets(self, life: Life) -> None:
        has_time(life)

        assert life.says(CLOCKS).split() == ["monotonic", "0", "0", "boottime", "0", "0"]
        assert life.says("readlink /proc/self/ns/time").strip() != os.readlink("/proc/self/ns/time")

    def test_init_and_exec_see_the_same_clocks(self, life: Life) -> None:
        has_time(life, timeOffsets=OFFSETS)
        life.sleep()
        pid = life.runjail.state("c")["pid"]

        assert life.runjail.ok("exec", "c", "/bin/sh", "-c", CLOCKS).stdout.split() == AHEAD
        assert life.runjail.ok("exec", "c", "/bin/readlink", "/proc/self/ns/time").stdout.strip() == os.readlink(
            f"/proc/{pid}/ns/time"
        )
        uptime = float(life.runjail.ok("exec", "c", "/bin/cut", "-d", " ", "-f1", "/proc/uptime").stdout)
        with open("/proc/uptime", encoding="ascii") as ours:
            assert 1337 - 60 < uptime - float(ours.read().split()[0]) < 1337 + 60
        assert life.runjail.state("c")["status"] == "running", "its start time is the host's"

    def test_joining_the_clocks_of_another_container(self, life: Life, make_bundle: Any) -> None:
        has_time(life, timeOffsets=OFFSETS)
        life.sleep()
        other = Life(life.runjail, make_bundle("other"))
        path = f"/proc/{life.runjail.state('c')['pid']}/ns/time"
        other.bundle.config["linux"]["namespaces"].append({"type": "time", "path": path})

        assert other.runjail.ok("run", "-b", other.bundle.write("/bin/sh", "-c", CLOCKS), "d").stdout.split() == AHEAD

    def test_an_offset_that_the_kernel_refuses_leaves_nothing(self, life: Life) -> None:
        """Clocks do not begin before zero."""
        has_time(life, timeOffsets={"monotonic": {"secs": -(2**40)}})
        result = life.runjail("create", "-b", life.bundle.write(), "c")

        assert result.returncode == 1
        assert result.stderr.startswith(f"runjail: setting timeOffsets.monotonic to {-(2**40)} s:")
        life.gone()
