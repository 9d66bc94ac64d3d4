"""A program that is a container's network: it is noted before it runs, and outlives neither init nor who watches it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import until
from tests.support.program import TOP

pytestmark = [pytest.mark.linux, pytest.mark.needs("containers")]

READY = "echo ready >&5; exec sleep 9000"
# Who makes a container, in so far as the program is concerned; `dies` says when it is killed
CREATOR = """\
import json, os, sys, time
from runjail.errors import NetworkError
from runjail.host.base import HostState
from runjail.host.linux import network_program, processes
from runjail.host.networks import NetworkProgram

script, init, dies, notes, directory = sys.argv[1:]
state = HostState("c", "c", directory, "", "")
state.pid = int(init)
state.started = network_program._started(state.pid)
state.namespaces = {"net": os.stat(f"/proc/{init}/ns/net").st_ino}

def note(one):
    if dies == "before the note":
        os.kill(os.getpid(), 9)
    with open(notes, "w") as file:
        json.dump(one, file)
    if dies == "after the note":
        os.kill(os.getpid(), 9)

if dies == "once it runs":  # before it is ready
    receive = network_program.receive
    count = []
    def counted(*given):
        count.append(1)
        if len(count) > 1:
            os.kill(os.getpid(), 9)
        return receive(*given)
    network_program.receive = counted
if dies == "its program, before the note":
    receive = network_program.receive
    def killed(*given):
        message = receive(*given)
        network_program.receive = receive
        os.kill(int(message), 9)
        while network_program._started(int(message)):
            time.sleep(0.01)
        return message
    network_program.receive = killed
where = os.open(directory, os.O_RDONLY)
try:
    program = NetworkProgram("test", ("/bin/sh", "-c", script), False, where, dict)
    network_program.run(program, state, note)
except NetworkError as error:
    sys.exit(str(error))
"""


def fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, none for who is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def started(pid: int) -> str:
    """Return when a process was started, "" for zombies and the dead."""
    found = fields(pid)
    return "" if not found or found[0] in ("Z", "X") else found[19]


def end(note: dict[str, Any]) -> None:
    """Take back what a note tells of."""
    from runjail.host.linux import network_program

    change: Any = None
    network_program.end(change, note)


class Made:
    """A process in a network namespace of its own, as init, and programs of it."""

    def __init__(self, place: Path) -> None:
        self.place, self.notes = place, place / "notes"
        self.init = subprocess.Popen(["unshare", "-n", "sleep", "9000"])
        until(lambda: os.stat(f"/proc/{self.init.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)

    def start(self, script: str, dies: str = "") -> "subprocess.CompletedProcess[str]":
        """Have a creator start the program; returns how that ended."""
        words = [sys.executable, "-c", CREATOR, script, str(self.init.pid), dies, str(self.notes), str(self.place)]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=TOP, timeout=240)

    def note(self) -> dict[str, Any]:
        """Return the undo note."""
        found: dict[str, Any] = json.loads(self.notes.read_text())
        return found

    def undo(self) -> None:
        """Take back what was noted."""
        end(self.note())


@pytest.fixture
def made(place: Path) -> Iterator[Made]:
    """An init; what was noted is gone afterwards, whatever a test does."""
    found = Made(place)
    yield found
    found.init.kill()
    found.init.wait()
    if found.notes.exists():
        found.undo()


def lives(process: list[Any]) -> bool:
    """Whether a process of a note is still that, and no zombie."""
    return started(process[0]) == process[1]


def test_it_runs_until_init_ends(made: Made) -> None:
    """In init's network namespace as its descriptor 3, with nothing else of its caller's."""
    done = made.start(f"ls -l /proc/self/fd/3 >{made.place}/net; ls /proc/self/fd >{made.place}/open; {READY}")
    assert (done.returncode, done.stderr) == (0, "")
    watcher, program = made.note()["processes"]

    assert str(os.stat(f"/proc/{made.init.pid}/ns/net").st_ino) in (made.place / "net").read_text()
    assert set((made.place / "open").read_text().split()) <= {"0", "1", "2", "3", "4", "5", "6", "7"}
    assert lives(watcher) and lives(program)
    made.init.kill()
    until(lambda: not lives(watcher) and not lives(program))


def test_undoing_ends_both(made: Made) -> None:
    """And once more is a success."""
    made.start(READY)
    watcher, program = made.note()["processes"]
    assert lives(watcher) and lives(program)
    made.undo()

    assert not lives(watcher) and not lives(program)
    made.undo()


@pytest.mark.parametrize(("victim", "other"), [(0, 1), (1, 0)])
def test_one_of_them_does_not_outlive_the_other(made: Made, victim: int, other: int) -> None:
    made.start(READY)
    both = made.note()["processes"]
    os.kill(both[victim][0], signal.SIGKILL)

    until(lambda: not lives(both[other]))


@pytest.mark.parametrize("changed", ["started", "boot"])
def test_a_process_that_has_its_number_is_left_alone(made: Made, changed: str) -> None:
    """A pid is another's after its end: the start time and the boot tell."""
    made.start(READY)
    note = made.note()
    other = subprocess.Popen(["sleep", "9000"])
    try:
        since = started(other.pid)
        forged = {**note, "processes": [[other.pid, "1" if changed == "started" else since]] * 2}
        end(forged | ({"boot": "another"} if changed == "boot" else {}))

        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("dies", ["before the note", "after the note"])
def test_it_is_not_executed_for_who_died_before(made: Made, dies: str) -> None:
    """SIGKILL of the creator before it says go: nobody is left, noted or not."""
    mark = made.place / "executed"
    done = made.start(f"touch {mark}; {READY}", dies)
    assert done.returncode == -signal.SIGKILL
    if dies == "after the note":
        for process in made.note()["processes"]:
            until(lambda known=process: not lives(known))
    else:
        until(lambda: not [pid for pid in _in(made.init.pid) if pid != made.init.pid])

    assert not mark.exists()


def test_it_is_noted_when_its_creator_dies_before_it_is_ready(made: Made) -> None:
    """It may run then, and goes with the container."""
    done = made.start(READY, "once it runs")
    assert done.returncode == -signal.SIGKILL
    made.undo()

    assert not any(map(lives, made.note()["processes"]))


def test_it_may_be_dead_when_it_is_noted(made: Made) -> None:
    """Then it has no start time, and nobody is waited for: what `run` did could not be taken back."""
    done = made.start(READY, "its program, before the note")

    assert done.stderr == "--network test: it ended, and does not say why\n"
    assert made.note()["processes"][1][1] == ""
    made.undo()


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("echo WARNING: noise; echo 'cannot do it' >&2; echo more; exit 3", "cannot do it"),
        ("exit 3", "it ended, and does not say why"),
        ("echo closed; exec 5>&-; exec sleep 9000", "closed"),
    ],
)
def test_what_it_says_is_the_error(made: Made, script: str, cause: str) -> None:
    """One line, the first that is no noise; nobody is left."""
    done = made.start(script)

    assert done.stderr == f"--network test: {cause}\n"
    assert not any(map(lives, made.note()["processes"]))


def test_it_may_write_for_ever(made: Made) -> None:
    """Nobody keeps what it says, and it never waits for a reader."""
    made.start(
        f"echo ready >&5; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; touch {made.place}/done; {READY}"
    )

    until(lambda: (made.place / "done").exists())


def test_it_is_no_child_of_init_and_has_no_terminal(made: Made) -> None:
    """A session of its own: who interrupts `run` does not end the network of a container that goes on."""
    made.start(READY)
    watcher, program = made.note()["processes"]

    assert os.getsid(watcher[0]) == os.getsid(program[0]) == watcher[0]
    assert os.readlink(f"/proc/{watcher[0]}/cwd") == "/"
    assert int(fields(program[0])[1]) == watcher[0]


def _in(pid: int) -> list[int]:
    """Return the processes that have a descriptor of a process's network namespace, or are in it."""
    wanted, found = os.stat(f"/proc/{pid}/ns/net").st_ino, []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            places = [f"/proc/{name}/ns/net", *(f"/proc/{name}/fd/{each}" for each in os.listdir(f"/proc/{name}/fd"))]
            if any(_inode(place) == wanted for place in places):
                found.append(int(name))
        except OSError:
            continue
    return found


def _inode(place: str) -> int:
    try:
        return os.stat(place).st_ino
    except OSError:
        return 0
