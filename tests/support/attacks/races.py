"""Four creators and four deleters of one id at once, each delayed before its system calls, and what must be left."""

import os
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.container.harness import Life
from tests.support.container.victim import Victim, interpreter
from tests.support.leftovers import Leftovers
from tests.support.program import FREEBSD, TOP, own_words

DELAYER = str(TOP / "tests/support/container/delay_injection.py")
STOPPER = str(Path(__file__).with_name("stopper.py"))
SECONDS = 200  # for one verb, on a busy machine


Racer = tuple[tuple[str, ...], "subprocess.Popen[str]"]


def delayed(life: Life, seed: int, verb: tuple[str, ...]) -> "subprocess.Popen[str]":
    """Start the program under the delayer; what it says is kept in a file, which a container may hold open."""
    command = [*interpreter(), DELAYER, str(seed), "--root", str(life.runjail.root), *verb]
    said = tempfile.TemporaryFile("w+", dir=life.path)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={}, text=True)
    process.stdout = said
    return process


def words(process: "subprocess.Popen[str]") -> str:
    """Return what a process that has ended said."""
    assert process.stdout
    with process.stdout as said:
        said.seek(0)
        return own_words(said.read())


class Race:
    """The competitors' bundle, and the look at what they leave."""

    def __init__(self, life: Life, leftovers: Leftovers) -> None:
        self.life = life
        config: dict[str, Any] = life.bundle.config
        (life.path / "source").mkdir()
        config["mounts"] += [
            {"destination": "/made/data", "type": "nullfs" if FREEBSD else "bind", "source": str(life.path / "source"),
             "options": ["bind"]},
            {"destination": "/new", "type": "tmpfs", "source": "tmpfs"},
        ]  # fmt: skip
        if not FREEBSD:
            config["linux"]["resources"] = {"pids": {"limit": 50}}
        hook = {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}
        config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
        self.bundle = life.bundle.write("/bin/sh", "-c", "sleep 0.1")
        self.victim = Victim(life, leftovers)
        self.pids = life.path / "pids"
        self.pids.mkdir()

    def alone(self) -> int:
        """Return the exit code of a `run` that nobody disturbs."""
        process = delayed(self.life, 0, ("run", "-b", self.bundle, "c"))
        code = process.wait(SECONDS)
        assert words(process) == ""
        return code

    def round(self, seed: int) -> list[int]:
        """Let four creators and four deleters loose, look at everything that they left, return the creators' codes.

        Who deletes does it a second time.
        """
        at = ("-b", self.bundle, "--pid-file", str(self.pids / "pid"), "c")
        creators = [("create", *at), ("create", *at), ("run", *at), ("run", "--detach", *at)]
        racing = [(verb, delayed(self.life, seed, verb)) for verb in creators]
        with ThreadPoolExecutor(4) as threads:
            deleters = [threads.submit(self._delete, seed) for _ in range(4)]
            deletes = [done for deleter in deleters for done in deleter.result()]
        said = [(verb, process.wait(SECONDS), words(process)) for verb, process in [*racing, *deletes]]
        for verb, code, text in said:
            assert "Traceback" not in text and "internal error" not in text, (seed, verb, text)
            assert "undoing" not in text and "removing" not in text, (seed, verb, text)
            assert verb[0] != "delete" or (code, text) == (0, ""), (seed, code, text)
            assert code in (0, 1, 137), (seed, verb, code, text)
        self.victim.nothing_is_left(f"round {seed}: {said}")
        assert {path.name for path in self.pids.iterdir()} <= {"pid"}, seed
        return [code for verb, code, _text in said if verb[0] != "delete"]

    def _delete(self, seed: int) -> "list[Racer]":
        done: list[Racer] = []
        verb = ("delete", "--force", "c")
        for _ in range(2):
            done.append((verb, delayed(self.life, seed, verb)))
            done[-1][1].wait(SECONDS)
        return done


def stopped_at(life: Life, place: str, *args: str, number: int = 1) -> "subprocess.Popen[bytes]":
    """Start the program and return once it has stopped before the n-th call of a function; SIGCONT lets it go on."""
    command = [*interpreter(), STOPPER, place, str(number), "--root", str(life.runjail.root), *args]
    with open(life.path / "stopped", "wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={})
    _pid, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), (place, status, (life.path / "stopped").read_text())
    return process


def resumed(life: Life, process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Let a stopped program run to its end. Returns its exit code and what it said."""
    process.send_signal(signal.SIGCONT)
    return process.wait(SECONDS), own_words((life.path / "stopped").read_text())
