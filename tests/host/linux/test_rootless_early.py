"""An ordinary user's container that is created and has not started: joined by what init hands out at its gate."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState, WorkingDirectory
from tests.support.container.harness import Life, failed, is_alive
from tests.support.container.ordinary import end, ordinary_life
from tests.support.leftovers import Leftovers
from tests.support.program import LINUX, Runjail

if not LINUX:
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import join

pytestmark = [pytest.mark.linux, pytest.mark.needs("ordinary user")]

# All that a process is in, and what it can do
QUESTIONS = "id -u; for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done; ls /; "
QUESTIONS += "grep -E 'Cap|NoNew' /proc/self/status; cat /proc/self/uid_map; cut -d' ' -f5 /proc/self/mountinfo"


@pytest.fixture
def life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Life]:
    """One bundle that belongs to an ordinary user."""
    made = ordinary_life(runjail, place, machine_rootfs, leftovers)
    yield made
    end(made)


def asked(life: Life, *options: str, id: str = "c") -> str:
    """Return what a process beside init says of itself."""
    return life.runjail.ok("exec", *options, id, "/bin/sh", "-c", QUESTIONS).stdout


def test_exec_before_the_start_is_exec_after_it(life: Life) -> None:
    """Again and again, with a terminal of the container's own, too; then it starts as ever."""
    options = ["newinstance", "ptmxmode=0666", "mode=0620"]
    pts = {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options}
    life.bundle.config["mounts"].append(pts)
    life.create("/bin/sleep", "600")
    early, again = asked(life), asked(life)
    terminal = life.runjail.ok("exec", "-t", "c", "/bin/sh", "-c", "readlink /proc/self/fd/0; ls /dev/pts").stdout
    life.runjail.ok("start", "c")

    assert early == again == asked(life)
    assert terminal.split() == ["/dev/pts/0", "0", "ptmx"]


def test_the_program_inherits_nothing(life: Life) -> None:
    """What init holds ends with the program's beginning, whether or not somebody came."""
    said = life.create("/bin/sh", "-c", "ls -l /proc/self/fd | grep -c :; sleep 600")
    life.runjail.ok("exec", "c", "/bin/true")
    life.runjail.ok("start", "c")
    pid = life.runjail.state("c")["pid"]

    assert said.returncode == 0
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]


def test_hooks_inside_before_the_start(life: Life) -> None:
    """startContainer hooks join the same way."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /said; readlink /proc/self/ns/mnt >> /said"]}
    life.bundle.config["hooks"] = {"startContainer": [hook]}
    life.sleep()
    inside = life.runjail.ok("exec", "c", "/bin/readlink", "/proc/self/ns/mnt").stdout

    state, _, place = (life.bundle.rootfs / "said").read_text(encoding="utf-8").rpartition("}")
    assert json.loads(state + "}")["status"] == "created"
    assert place == inside


def test_in_the_namespaces_of_another_container(life: Life) -> None:
    """As a pod has them: init may not be looked at when it appears, and is found when everything is to end."""
    life.sleep()
    first = life.runjail.state("c")["pid"]
    linux = life.bundle.config["linux"]
    for namespace in linux["namespaces"]:
        if namespace["type"] in ("user", "pid", "ipc", "uts"):
            namespace["path"] = f"/proc/{first}/ns/{namespace['type']}"
    life.create("/bin/sleep", "600", id="second")
    init = life.runjail.state("second")["pid"]
    early = asked(life, id="second")

    assert str(init) in life.runjail.ok("ps", "second").stdout
    life.runjail.ok("start", "second")
    assert asked(life, id="second") == early
    life.create("/bin/sleep", "600", id="third")
    third = life.runjail.state("third")["pid"]
    life.runjail.ok("delete", "--force", "third")
    life.runjail.ok("delete", "--force", "second")
    assert [is_alive(pid) for pid in (first, init, third)] == [True, False, False]


def test_whoever_knocks_and_says_nothing(life: Life) -> None:
    """Who comes to the gate and leaves, or says what nobody understands, changes nothing."""
    life.create("/bin/sleep", "600")
    for words in (b"", b"\n", b'{"open":true}\n', b'{"join":true}\n'):
        knocking = socket.socket(socket.AF_UNIX)
        with knocking, WorkingDirectory(str(life.runjail.root / "c")):
            knocking.connect("gate")
            knocking.sendall(words)

    assert asked(life)
    life.runjail.ok("start", "c")
    assert life.runjail.state("c")["status"] == "running"


def test_init_that_died(life: Life) -> None:
    life.create("/bin/sleep", "600")
    os.kill(life.runjail.state("c")["pid"], 9)
    life.runjail.wait("c")

    failed(life.runjail("exec", "c", "/bin/true"), "cannot exec in a stopped container", 255)


@pytest.mark.parametrize("kind", ["net", "root"])
def test_what_is_handed_over_is_compared(tmp_path: Path, kind: str) -> None:
    """Whatever comes that is not recorded of init is refused, and nothing of it stays open."""
    right = os.open("/proc/self/ns/pid", os.O_RDONLY)
    state = HostState("c", "c", str(tmp_path), "/", "/")
    state.namespaces = {"pid": os.fstat(right).st_ino, "net": 1, "root": 1}
    assert join.checked({"pid": right}, state) == {"pid": right}
    wrong = os.open("/proc/self/ns/net" if kind == "net" else "/", os.O_RDONLY)

    with pytest.raises(HostError, match=f"joining the {kind} namespace of the container: what init has handed over"):
        join.checked({"pid": right, kind: wrong}, state)
    for closed in (right, wrong):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(closed)
