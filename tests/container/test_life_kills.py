"""SIGKILL before every single step of a verb: `delete --force` then leaves nothing, whatever was done by then."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, until
from tests.support.container.victim import KILLER, MAX_STEPS, Victim, interpreter
from tests.support.leftovers import Leftovers
from tests.support.program import FREEBSD, Runjail

# A verb for each of up to 200 steps, which takes an emulated machine more than the usual five minutes
pytestmark = [pytest.mark.limit(1800), pytest.mark.slow]


@pytest.fixture
def victim(life: Life, leftovers: Leftovers) -> Victim:
    """A container with everything that leaves traces: made mount points, a control group, hooks."""
    config: dict[str, Any] = life.bundle.config
    (life.path / "source").mkdir()
    (life.path / "source" / "file").touch()
    kind = "nullfs" if FREEBSD else "bind"
    config["mounts"] += [
        {"destination": "/made/data", "type": kind, "source": str(life.path / "source"), "options": ["bind"]},
        {"destination": "/made/file", "type": kind, "source": str(life.path / "source" / "file"), "options": ["bind"]},
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
        {"destination": "/new", "type": "tmpfs", "source": "tmpfs"},
    ]
    if not FREEBSD:
        config["linux"].update(
            resources={"pids": {"limit": 50}}, maskedPaths=["/proc/kcore"], readonlyPaths=["/proc/sys"]
        )
    config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}] for kind in ("createRuntime", "createContainer")
    }
    life.bundle.write("/bin/sleep", "600")
    return Victim(life, leftovers)


def at_every_step(
    victim: Victim, mode: str, *args: str, prepare: Callable[[], object] = lambda: None, stride: int = 1
) -> int:
    """Kill at step 1, 2, 3, ... until the verb gets through; returns the number of steps."""
    for number in range(1, MAX_STEPS, stride):
        prepare()
        code = victim.kill(mode, number, *args)
        through = code == 0
        assert mode == "child" or code in (0, -9), victim.said()
        assert "Traceback" not in victim.said() and "internal error" not in victim.said(), victim.said()
        victim.nothing_is_left(f"{mode} {args[0]} killed before step {number}")
        if through:
            return number
    raise AssertionError("it never got through")


@pytest.mark.parametrize("mode", ["parent", "child"])
def test_create_killed_at_every_step(victim: Victim, tmp_path: Path, mode: str) -> None:
    """The runtime, or the init that it forked."""
    args = ("create", "-b", str(victim.life.path), "--pid-file", str(tmp_path / "pid"), "c")
    steps = at_every_step(victim, mode, *args)

    assert steps > 20


@pytest.mark.parametrize("mode", ["parent", "child"])
def test_start_killed_at_every_step(victim: Victim, mode: str) -> None:
    """With hooks before and after; `child` is the process that enters for the startContainer hooks."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}
    victim.life.bundle.config["hooks"] = {"startContainer": [hook], "poststart": [hook]}
    bundle = victim.life.bundle.write()
    steps = at_every_step(victim, mode, "start", "c", prepare=lambda: victim.runjail.ok("create", "-b", bundle, "c"))

    assert steps > (10 if mode == "parent" else 5)


def test_delete_killed_at_every_step(victim: Victim) -> None:
    """A second delete finishes what the first began."""
    bundle = victim.life.bundle.write()
    steps = at_every_step(
        victim, "parent", "delete", "--force", "c", prepare=lambda: victim.runjail.ok("run", "-d", "-b", bundle, "c")
    )

    assert steps >= 8


@pytest.mark.parametrize("mode", ["parent", "child"])
def test_exec_killed_at_every_step(victim: Victim, mode: str) -> None:
    """The container goes on, the next exec works, and no half process stays in it."""
    victim.runjail.ok("run", "-d", "-b", victim.life.bundle.write(), "c")
    init = victim.runjail.state("c")["pid"]
    for number in range(1, MAX_STEPS):
        pid_file = str(victim.life.path.parent / "pid")
        code = victim.kill(mode, number, "exec", "--pid-file", pid_file, "c", "/bin/sh", "-c", "exit 0")
        assert "Traceback" not in victim.said() and "internal error" not in victim.said(), victim.said()
        if code == 0:
            break
        assert code in (-9, 255, 137), victim.said()
        until(lambda: json.loads(victim.runjail.ok("ps", "-f", "json", "c").stdout) == [init])
    assert victim.runjail.ok("exec", "c", "/bin/echo", "well").stdout == "well\n"

    assert number > 10
    victim.nothing_is_left("exec")


def test_run_killed_at_every_third_step(victim: Victim) -> None:
    """A foreground run leaves at worst a container that can be deleted. Its parts are killed at every step above."""
    victim.life.bundle.config["hooks"] = {}
    bundle = victim.life.bundle.write("/bin/sh", "-c", "exit 0")
    steps = at_every_step(victim, "parent", "run", "-b", bundle, "c", stride=3)

    assert steps > 40


def test_the_killer_kills(runjail: Runjail) -> None:
    """What these tests rest on."""
    command = [*interpreter(), KILLER, "parent", "1", "--version"]

    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert subprocess.run([*command[:-2], "999", "--version"], capture_output=True, check=False).returncode == 0
    assert sys.platform
