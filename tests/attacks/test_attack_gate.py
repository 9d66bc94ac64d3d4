"""Beside an ordinary user's init that has not become the program yet: it is still ours, and shows nothing.

`exec` may put processes there as soon as a container is created. They are root in the same user namespace, with
every capability; what lets them in (runjail/container/gate.py) must not let them at init.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.spec.capabilities import NAMES
from tests.support.container.harness import Life
from tests.support.container.ordinary import end, ordinary_life
from tests.support.leftovers import Leftovers
from tests.support.program import Runjail

pytestmark = [pytest.mark.linux, pytest.mark.needs("ordinary user")]

LOOKS = ("readlink /proc/1/ns/net", "readlink /proc/1/root", "ls /proc/1/fd", "cat /proc/1/environ", "cat /proc/1/maps")
STRANGER = 4243  # another user of the machine
CONNECT = "import os, socket, sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).connect('gate')"


@pytest.fixture
def life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Life]:
    """A created container of an ordinary user, whose root has every capability."""
    made = ordinary_life(runjail, place, machine_rootfs, leftovers)
    names = [f"CAP_{name}" for name in NAMES]
    made.bundle.config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    made.create("/bin/sleep", "600")
    yield made
    end(made)


def seen(life: Life) -> list[bool]:
    """Return which looks at process 1 succeed from beside it."""
    script = "; ".join(f"{look} >/dev/null 2>&1; echo $?" for look in LOOKS)
    return [word == "0" for word in life.runjail.ok("exec", "c", "/bin/sh", "-c", script).stdout.split()]


def test_init_cannot_be_looked_at(life: Life) -> None:
    """Before and after it has handed out its namespaces; the program can, as the control."""
    assert seen(life) == seen(life) == [False] * len(LOOKS)
    life.runjail.ok("start", "c")
    assert seen(life) == [True] * len(LOOKS)


def test_strangers_do_not_come_to_the_gate(life: Life) -> None:
    """The gate is behind a directory of its user; who has that right gets in, as the control."""
    command = [sys.executable, "-c", CONNECT, str(life.runjail.root / "c")]
    ids = {"extra_groups": [], "capture_output": True, "check": False, "timeout": 60}
    refused = subprocess.run(command, user=STRANGER, group=STRANGER, text=True, **ids)  # type: ignore[call-overload]
    own = os.stat(life.runjail.root).st_uid
    allowed = subprocess.run(command, user=own, group=own, text=True, **ids)  # type: ignore[call-overload]

    assert refused.returncode == 1 and "PermissionError" in refused.stderr
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert not any(seen(life))
