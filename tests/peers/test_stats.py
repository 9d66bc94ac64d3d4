"""`events --stats` beside runc's, field by field: both look at one control group, in which nobody moves."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail

pytestmark = [pytest.mark.linux, pytest.mark.needs("cgroups"), pytest.mark.peers("runc")]

TRIES = 30
STEADY = {".memory.usage.limit", ".memory.usage.usage", ".memory.cache", ".pids.current", ".pids.limit"}
LIMITS: dict[str, Any] = {
    "memory": {"limit": 128 << 20, "reservation": 64 << 20},
    "cpu": {"quota": 20000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 50},
}
# What newer kernels count and runc learned later: pressure in 1.2, memory.peak
NEWER = (".cpu.psi.", ".memory.psi.", ".blkio.psi.", ".memory.usage.max")
# Reads and writes a file past the page cache where it can, burns its quota, and then sleeps
BUSY = "dd if=/dev/zero of=/big bs=64k count=64 conv=fsync; cat /big >/dev/null; "
BUSY += "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; "


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[list[str]]:
    """The command line of a runc with a state root of its own, and a container `r` that is gone afterwards."""
    command = ["runc", "--root", str(tmp_path / "runc")]
    yield command
    subprocess.run([*command, "delete", "--force", "r"], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def runcs_stats(command: list[str]) -> dict[str, Any]:
    done = subprocess.run([*command, "events", "--stats", "r"], capture_output=True, text=True, timeout=60, check=True)
    return leaves(json.loads(done.stdout)["data"])


def leaves(value: Any, path: str = "", zeros: bool = False) -> dict[str, Any]:
    """Return a document's values by their paths. What is 0, empty or null is as good as absent: Go leaves it out."""
    if isinstance(value, dict):
        parts = [leaves(inner, f"{path}.{name}", zeros) for name, inner in value.items()]
        return {key: found for part in parts for key, found in part.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        named = {
            f"{item.get('major', 0)}:{item.get('minor', 0)}:{item.get('op', '')}": item.get("value", 0)
            for item in value
        }
        return leaves(named, path, zeros)
    return {path: value} if value or zeros else {}


def freeze(group: str, still: bool) -> None:
    """Stop who is in the group, or let them go on, on either version."""
    v2 = Path("/sys/fs/cgroup", group, "cgroup.freeze")
    v1 = Path("/sys/fs/cgroup/freezer", group, "freezer.state")
    (v2 if v2.exists() else v1).write_text(str(int(still)) if v2.exists() else "FROZEN" if still else "THAWED")


Leaves = dict[str, Any]


def looks(runc: list[str], runjail: Runjail) -> tuple[Leaves, Leaves, Leaves, set[str]]:
    """Return what runc says, what we say, what runc says then, and what did not change meanwhile.

    A processor that does something else gives back the memory that it had taken for the group: then we look again.
    """
    for _ in range(TRIES):
        before = runcs_stats(runc)
        ours = leaves(json.loads(runjail.ok("events", "--stats", "c").stdout)["data"], zeros=True)
        after = runcs_stats(runc)
        steady = {path for path in before if before[path] == after.get(path)}
        if steady >= STEADY:
            break
    return before, ours, after, steady


@pytest.mark.limit(300)
def test_every_number_is_runcs(runc: list[str], runjail: Runjail, bundle: Bundle, leftovers: Leftovers) -> None:
    """But for those that change between two looks of runc's own."""
    group = f"{leftovers.group}-stats"
    bundle.config["linux"] = {**bundle.config.get("linux", {}), "cgroupsPath": f"/{group}", "resources": LIMITS}
    with open(os.devnull, "w+b") as nowhere:
        bundle.write("/bin/sh", "-c", BUSY + "sleep 600")
        command = [*runc, "run", "-d", "-b", str(bundle.path), "r"]
        subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=60, check=True)
    del bundle.config["linux"]["resources"]
    runjail.ok("create", "-b", bundle.write("/bin/sleep", "600"), "c")
    subprocess.run(["sleep", "3"], check=True)
    freeze(group, True)
    try:
        before, ours, after, steady = looks(runc, runjail)
    finally:
        freeze(group, False)
    runjail.ok("delete", "--force", "c")

    assert len(steady) > 20 and steady >= STEADY
    assert {path: (ours.get(path), before[path]) for path in steady if ours.get(path) != before[path]} == {}
    # What is written back from the cache appears in io.stat between two looks; a number that moves may be 0 in ours
    assert before.keys() & after.keys() <= ours.keys(), "what runc counts and we do not"
    counted = {path for path, value in ours.items() if value}
    more = {path for path in counted - before.keys() - after.keys() if not path.startswith(NEWER)}
    assert more == set(), "what we count and runc does not"
