"""Metrics: `ctr task metrics` shows of our shim what it shows of runc's, field by field."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers.shims import RUNTIME, Containerd

RUNC = "io.containerd.runc.v2"
WEB = f"web{os.getpid()}"  # the state directory of runc is the machine's
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
SAME_V2 = ("pids.current", "pids.limit", "memory.usage_limit", "memory.swap_limit")
SAME_V1 = (  # whatever the machine does meanwhile
    *("pids.current", "pids.limit", "memory.usage.limit", "memory.swap.limit", "memory.hierarchical_memory_limit"),
    *("memory.hierarchical_swap_limit", "memory.kernel_tcp.limit"),
)
pytestmark = [
    pytest.mark.linux,
    pytest.mark.peers("containerd", "ctr", "runc", "containerd-shim-runc-v2"),
    pytest.mark.needs("cgroups"),
]


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Containerd:
    """One containerd for all tests here."""
    return containerd()


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each number of a document with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _sleeps(line: str) -> bool:
    """Say whether a process of `ctr task ps` is the last of the script: others come and go."""
    try:
        return Path("/proc", line.split(maxsplit=1)[0], "comm").read_text(encoding="utf-8") == "sleep\n"
    except FileNotFoundError:
        return False


def measured(ctr: Containerd, runtime: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the numbers of a container that has worked a little, and the document they are in."""
    ctr.runtime = runtime
    script = "PATH=/bin:/usr/bin; i=0; while test $i -lt 20000; do i=$((i+1)); done; cat /bin/* >/dev/null; sleep 600"
    ctr.ok(*ctr.words(f"-d --memory-limit 33554432 {WEB}", "/bin/sh", "-c", script))
    while not any(map(_sleeps, ctr.ok("task", "ps", WEB).lines[1:])):
        pass
    document = json.loads(ctr.ok("task", "metrics", "--format", "json", WEB).out)
    ctr.remove(WEB)
    return dict(flat(document)), document


def test_the_same_fields_as_with_runc(ctr: Containerd) -> None:
    """JSON leaves out what is 0, so a field that is there with runc's is one that is counted."""
    theirs, document = measured(ctr, RUNC)
    ours, own = measured(ctr, RUNTIME)

    assert set(own) == set(document)
    same = SAME_V2 if V2 else SAME_V1
    assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}
    assert theirs["pids.current"] > 0
    small = {name for name, value in theirs.items() if isinstance(value, int) and value < 100000}  # may be 0 once
    small |= {
        "cpu.usage.user",
        "cpu.usage.kernel",
        "cpu.user_usec",
        "cpu.system_usec",
    }  # sampled by the tick: a short script may be met by none
    assert set(theirs) - set(ours) - small == set()
    if V2:
        assert theirs["cpu.usage_usec"] > 0 < ours["cpu.usage_usec"]
        return
    assert len(ours["cpu.usage.per_cpu"]) == len(theirs["cpu.usage.per_cpu"])
    assert sum(ours["cpu.usage.per_cpu"]) <= ours["cpu.usage.total"] * 1.1
