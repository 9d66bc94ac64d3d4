"""How many system calls and processes a verb costs once it is loaded: a budget, by strace(1)."""

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.imports import merge
from tests.support.program import TOP

pytestmark = [pytest.mark.linux, pytest.mark.needs("strace")]

FORKS = {"clone", "clone3", "fork", "vfork"}
# Calls of the verb's own process from where it has closed what leaked into it; most are one look at /proc or /sys each.
# create, start and delete depend on the machine's control groups: version 1 takes a directory a controller.
MOST = {"create": 300, "state": 20, "start": 60, "exec": 90, "kill": 30, "delete": 360}
PROCESSES = {"create": 1, "exec": 1}  # init; and who joins
NO_LOCK = {"state", "kill"}


def calls(program: Path, out: Path, *args: str) -> Counter[str]:
    """Run a verb. Returns how often its process made which call after it was loaded."""
    command = ["strace", "-qq", "-o", str(out), str(program), *args]
    with open(f"{out}.said", "w", encoding="utf-8") as said:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False, timeout=120)
    assert done.returncode == 0, Path(said.name).read_text(encoding="utf-8")
    lines = [line for line in out.read_text(encoding="utf-8", errors="replace").splitlines() if "(" in line]
    closed = next(number for number, line in enumerate(lines) if line.startswith("close_range(3"))
    return Counter(line.partition("(")[0] for line in lines[closed + 1 :])


def test_verbs_ask_the_kernel_little(tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """No verb but those that make a process makes one, and whoever only looks reads no directory and takes no lock."""
    merge().write(str(TOP), "", "linux")  # or sources that are newer than the last `make venv` are searched for
    bundle.write("/bin/sleep", "600")
    life = [("create", "-b", str(bundle.path), "few"), ("state", "few"), ("start", "few")]
    life += [("exec", "few", "/bin/true"), ("kill", "few", "KILL"), ("delete", "-f", "few")]
    at = ("--root", str(runjail.root))

    made = {args[0]: calls(Path(runjail.program), tmp_path / args[0], *at, *args) for args in life}

    sums = {verb: sum(found.values()) for verb, found in made.items()}
    assert {verb: count for verb, count in sums.items() if count > MOST[verb]} == {}
    forks = {verb: sum(found[name] for name in FORKS) for verb, found in made.items()}
    assert forks == {verb: PROCESSES.get(verb, 0) for verb in made}
    assert [verb for verb in NO_LOCK if made[verb]["flock"] or made[verb]["getdents64"]] == []
