"""Limits that the kernel enforces: what hogs, multiplies or burns is stopped, the rest of the machine is not."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, until

pytestmark = [pytest.mark.linux, pytest.mark.needs("cgroups")]
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
HOG = ("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")  # holds and fills 100 MiB
BOMB = "b() { b | b & }; b & exec sleep 600"  # init forks once: where no more is to be had, a shell ends
MIB = 1 << 20


@pytest.fixture
def limited(life: Life) -> Iterator[Life]:
    """Let a container that burns or multiplies end with its test, whatever happens."""
    yield life
    life.runjail("delete", "-f", "c")


def limits(life: Life, **resources: Any) -> None:
    life.bundle.config["linux"]["resources"] = resources


def stats(life: Life, id: str = "c") -> dict[str, Any]:
    data: dict[str, Any] = json.loads(life.runjail.ok("events", "--stats", id).stdout)["data"]
    return data


def control(life: Life, controller: str, file: str) -> str:
    group = life.bundle.config["linux"]["cgroupsPath"].strip("/")
    below = group if V2 else f"{controller}/{group}"
    return Path(f"/sys/fs/cgroup/{below}/{file}").read_text(encoding="ascii").strip()


def test_a_memory_hog_is_killed_and_update_gives_it_room(limited: Life) -> None:
    limits(limited, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    limited.sleep()

    assert limited.runjail("exec", "c", *HOG).returncode == 137
    assert limited.runjail.state("c")["status"] == "running", "the hog was killed, the container was not"
    assert stats(limited)["memory"]["usage"]["limit"] == 32 * MIB
    limited.runjail.ok("update", "--memory", "200m", "--memory-swap", "200m", "c")
    assert limited.runjail("exec", "c", *HOG).returncode == 0
    limited.runjail.ok("update", "--memory", "32m", "--memory-swap", "32m", "c")
    assert limited.runjail("exec", "c", *HOG).returncode == 137


def test_events_tell_who_is_killed_for_want_of_memory(limited: Life) -> None:
    """As runc's: one line between those of --interval, also when it is init that dies."""
    limits(limited, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    limited.sleep()
    words = [limited.runjail.program, "--root", str(limited.runjail.root), "events", "c"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout
        first = listener.stdout.readline()

        assert limited.runjail("exec", "c", *HOG).returncode == 137

        assert json.loads(first)["type"] == "stats"
        lines = iter(listener.stdout.readline, "")
        assert next(line for line in lines if "stats" not in line) == '{"type":"oom","id":"c"}\n'
        limited.runjail.ok("kill", "c", "KILL")
        assert {json.loads(line)["type"] for line in lines} <= {"stats"}


def test_the_limit_of_memory_is_taken_away_with_that_of_memory_and_swap(limited: Life) -> None:
    limits(limited, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    limited.sleep()
    limited.runjail.ok("update", "--memory", "-1", "c")

    assert limited.runjail("exec", "c", *HOG).returncode == 0


def test_a_hog_that_is_the_program_ends_the_container(life: Life) -> None:
    limits(life, memory={"limit": 32 * MIB})
    result = life.runjail("run", "-b", life.bundle.write(*HOG), "c")

    assert result.returncode == 137
    life.gone()


def test_a_limit_of_memory_that_init_does_not_fit_into(life: Life) -> None:
    """A kubelet shows the text; runc has the same words."""
    limits(life, memory={"limit": 64 << 10, "swap": 64 << 10})
    result = life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert result.returncode == 1
    assert result.stderr == "runjail: container init was OOM-killed (memory limit too low?)\n"
    life.gone()


def test_a_fork_bomb_is_contained_and_update_gives_it_room(limited: Life) -> None:
    limits(limited, pids={"limit": 25}, cpu={"quota": 50000, "period": 100000})
    limited.start("/bin/sh", "-c", BOMB)

    until(lambda: control(limited, "pids", "pids.events") != "max 0")
    assert int(control(limited, "pids", "pids.current")) <= 25
    assert subprocess.run(["true"], check=True).returncode == 0, "everybody else can fork"
    assert stats(limited)["pids"]["limit"] == 25
    limited.runjail.ok("update", "--pids-limit", "40", "c")
    assert control(limited, "pids", "pids.max") == "40"
    limited.runjail.ok("update", "--pids-limit", "-1", "c")
    assert control(limited, "pids", "pids.max") == "max"
    limited.runjail.ok("update", "--pids-limit", "25", "c")
    limited.runjail.ok("delete", "-f", "c")
    limited.gone()


def test_processes_beyond_the_limit_come_with_update(limited: Life) -> None:
    limits(limited, pids={"limit": 8})
    limited.sleep()
    many = ("exec", "-d", "c", "/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 600 & done; wait")

    limited.runjail.ok(*many)
    until(lambda: control(limited, "pids", "pids.events") != "max 0")
    assert len(json.loads(limited.runjail.ok("ps", "-f", "json", "c").stdout)) <= 8
    limited.runjail.ok("update", "--pids-limit", "40", "c")
    limited.runjail.ok(*many)
    until(lambda: len(json.loads(limited.runjail.ok("ps", "-f", "json", "c").stdout)) > 12)


def test_no_processes_at_all_is_a_limit(life: Life) -> None:
    """runtime-spec 1.3: 0 is a number like any other. The program runs, and cannot fork."""
    limits(life, pids={"limit": 0})
    result = life.run("echo runs; /bin/true; echo forked")

    assert result.stdout == "runs\n" and "fork" in result.stderr, result


def test_a_cpu_burner_is_throttled_and_update_lets_it_run(limited: Life) -> None:
    limits(limited, cpu={"quota": 10000, "period": 50000})
    limited.start("/bin/sh", "-c", "while :; do :; done")

    until(lambda: stats(limited)["cpu"]["throttling"]["throttledPeriods"] >= 3)
    then, before = time.monotonic(), stats(limited)["cpu"]["usage"]["total"]
    time.sleep(1)
    spent = (stats(limited)["cpu"]["usage"]["total"] - before) / 1e9 / (time.monotonic() - then)
    assert spent < 0.35, "a fifth of one CPU is allowed"
    limited.runjail.ok("update", "--cpu-quota", "-1", "c")
    assert control(limited, "cpu", "cpu.max" if V2 else "cpu.cfs_quota_us").split()[0] == ("max" if V2 else "-1")
    time.sleep(0.1)
    held = stats(limited)["cpu"]["throttling"]["throttledPeriods"]
    time.sleep(0.3)
    assert stats(limited)["cpu"]["throttling"]["throttledPeriods"] == held


def test_update_has_runcs_options_for_burst_and_idle(limited: Life) -> None:
    """They were accepted and did nothing."""
    limits(limited, cpu={"quota": 10000, "period": 50000})
    limited.sleep()
    limited.runjail.ok("update", "--cpu-burst", "5000", "--cpu-idle", "1", "c")

    assert control(limited, "cpu", "cpu.max.burst" if V2 else "cpu.cfs_burst_us") == "5000"
    assert control(limited, "cpu", "cpu.idle") == "1"
    refused = limited.runjail("update", "--mem-bw-schema", "MB:0=20", "c")
    assert (refused.returncode, refused.stderr) == (1, "runjail: --mem-bw-schema: Intel RDT is not supported\n")


def test_cpus_are_those_named(limited: Life) -> None:
    cpu = min(os.sched_getaffinity(0))
    limits(limited, cpu={"cpus": str(cpu)})
    limited.sleep()

    assert os.sched_getaffinity(limited.runjail.state("c")["pid"]) == {cpu}
    everywhere = Path("/sys/fs/cgroup/cpuset.cpus.effective" if V2 else "/sys/fs/cgroup/cpuset/cpuset.cpus")
    limited.runjail.ok("update", "--cpuset-cpus", everywhere.read_text(encoding="ascii").strip(), "c")
    assert os.sched_getaffinity(limited.runjail.state("c")["pid"]) == os.sched_getaffinity(0)


def test_a_limit_for_a_container_that_had_none(limited: Life) -> None:
    """Its processes are put into a group then."""
    del limited.bundle.config["linux"]["cgroupsPath"]
    id = f"c{os.getpid()}"  # nobody else's group on this machine
    limited.start("/bin/sleep", "600", id=id)

    limited.runjail.ok("update", "--pids-limit", "10", id)

    group = Path("/sys/fs/cgroup", "" if V2 else "pids", "runjail", id)
    assert stats(limited, id)["pids"] == {"current": 1, "limit": 10} and group.exists()
    result = limited.runjail("exec", id, "/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; wait")
    assert "fork" in result.stderr
    limited.runjail.ok("delete", "-f", id)
    assert not group.exists()


def test_limits_shown_read_only_cannot_be_changed_inside(limited: Life) -> None:
    """Each hierarchy is a mount of its own, and takes the options of the whole; the tmpfs around them has its own."""
    limits(limited, pids={"limit": 20})
    options = ["ro", "nosuid", "noexec", "nodev"]
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}
    limited.bundle.config["mounts"].append(mount)
    limited.sleep()
    file = "/sys/fs/cgroup/pids.max" if V2 else "/sys/fs/cgroup/pids/pids.max"

    result = limited.runjail("exec", "c", "/bin/sh", "-c", f"cat {file}; echo max > {file}")
    mounts = limited.runjail.ok("exec", "c", "/bin/grep", " /sys/fs/cgroup", "/proc/self/mounts").stdout.splitlines()

    assert result.stdout == "20\n" and "Read-only file system" in result.stderr
    shown = [line for line in mounts if " tmpfs " not in line]
    assert shown and all(set(options) <= set(line.split()[3].split(",")) for line in shown)


def test_a_limit_the_kernel_refuses_is_named_and_undone(life: Life) -> None:
    limits(life, cpu={"cpus": "4000"})
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1 and result.stderr.startswith("runjail: setting cpuset.cpus to 4000: "), result
    life.gone()


def test_a_group_that_somebody_froze_is_refused(life: Life) -> None:
    """Instead of waiting for a program that cannot start."""
    group = life.bundle.config["linux"]["cgroupsPath"].strip("/")
    directory = Path(f"/sys/fs/cgroup/{group}" if V2 else f"/sys/fs/cgroup/freezer/{group}")
    file, cold, warm = ("cgroup.freeze", "1", "0") if V2 else ("freezer.state", "FROZEN", "THAWED")
    directory.mkdir()
    try:
        (directory / file).write_text(cold, encoding="ascii")
        result = life.runjail("create", "-b", life.bundle.write(), "c")
        life.gone()
    finally:
        (directory / file).write_text(warm, encoding="ascii")
        directory.rmdir()

    assert (result.returncode, result.stderr) == (1, f"runjail: container's cgroup unexpectedly frozen: {group}\n")


def test_check_says_that_limits_are_enforced(life: Life) -> None:
    rows = {row["what"]: row for row in json.loads(life.runjail("check", "-f", "json").stdout)}

    assert rows["resource limits"]["works"] and "memory, cpu, cpuset, pids" in rows["resource limits"]["found"]
