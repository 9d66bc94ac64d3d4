"""process.rlimits, seen from inside, and what is refused to who may not raise a hard limit."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, exec_document
from tests.support.program import own_words

# A caller with a hard limit that it may not raise, as root in a container is: CI machines, docker in docker.
BOUND = ("setpriv", "--bounding-set=-sys_resource", "prlimit", "--nofile=500:1000")
ABOVE = [{"type": "RLIMIT_NOFILE", "soft": 900, "hard": 2000}]
ERROR = "set RLIMIT_NOFILE to 900:2000: not allowed to raise maximum limit"
HINT = "ask for 1000 at most, or give who calls runjail a higher one: prlimit(1), CAP_SYS_RESOURCE"


def bound(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as a caller with a hard limit of 1000 open files."""
    return subprocess.run(
        [*BOUND, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def ours(life: Life, *args: str) -> "subprocess.CompletedProcess[str]":
    """Call runjail as that caller."""
    return bound(life.runjail.program, "--root", str(life.runjail.root), *args)


def test_rlimits(life: Life) -> None:
    """Soft and hard ones, and what the caller has where none is given."""
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]

    assert life.says("ulimit -Sn; ulimit -Hn; ulimit -c", rlimits=limits) == "100\n200\n0\n"


@pytest.mark.linux
@pytest.mark.parametrize("user", [False, True], ids=["host's user namespace", "its own"])
def test_more_than_the_caller_may_give(life: Life, user: bool) -> None:
    """It was lowered without a word, and podman's --ulimit was not what it said. Nothing stays."""
    if user:
        mapping: list[dict[str, Any]] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        life.bundle.config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        life.bundle.config["linux"]["namespaces"].append({"type": "user"})
    refused = ours(life, "create", "-b", life.bundle.write("/bin/true", rlimits=ABOVE), "c")

    assert (refused.returncode, own_words(refused.stderr)) == (1, f"runjail: {ERROR}\nhint: {HINT}\n")
    life.gone()


@pytest.mark.linux
def test_exec_with_more_than_the_caller_may_give(life: Life, tmp_path: Path) -> None:
    """The program does not run; the container goes on, and takes an exec that asks for what there is."""
    life.sleep()
    exec_document(life, "ulimit -n", rlimits=[ABOVE[0] | {"soft": 400, "hard": 1000}])
    process = life.path / "process.json"
    assert ours(life, "exec", "-p", str(process), "c").stdout == "400\n"
    process.write_text(process.read_text().replace("400", "900").replace("1000", "2000"))
    refused = ours(life, "exec", "-p", str(process), "c")

    assert (refused.returncode, refused.stdout, refused.stderr) == (255, "", f"runjail: {ERROR}\nhint: {HINT}\n")
    assert life.runjail.state("c")["status"] == "running"


@pytest.mark.linux
@pytest.mark.peers("runc")
@pytest.mark.parametrize(("soft", "hard"), [(900, 1000), (900, 1001), (900, 2**63), (0, 0)])
def test_runc_refuses_the_same(life: Life, tmp_path: Path, soft: int, hard: int) -> None:
    limits = [{"type": "RLIMIT_STACK", "soft": 8 << 20, "hard": 8 << 20}, ABOVE[0] | {"soft": soft, "hard": hard}]
    bundle = life.bundle.write("/bin/sh", "-c", "ulimit -n; ulimit -Hn", rlimits=limits)
    theirs = bound("runc", "--root", str(tmp_path / "runc"), "run", "-b", bundle, "peer")
    said = ours(life, "run", "-b", bundle, "c")

    assert (said.returncode, said.stdout) == (theirs.returncode, theirs.stdout), (said, theirs)
