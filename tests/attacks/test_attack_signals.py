"""Signals at any instant: no traceback, the exit code of who was ended by a signal, and what was begun is taken back.

The signal is sent just before a step of the verb (tests/support/container/fault_injection.py), or again and again from
outside, so that it also hits the taking back. Nobody calls `delete --force` before it is looked what was left.
"""

import itertools
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, until
from tests.support.container.victim import MAX_STEPS, Victim
from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail

pytestmark = [pytest.mark.linux, pytest.mark.slow]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HARMLESS = (signal.SIGCONT, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCHLD)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
THROUGH = 4  # times in a row that a verb succeeds: the signal came too late, or never


@pytest.fixture
def victim(runjail: Runjail, bundle: Bundle, leftovers: Leftovers) -> Victim:
    """A container with mount points that are made, a control group and hooks."""
    life = Life(runjail, bundle)
    config: dict[str, Any] = bundle.config
    config["mounts"] += [
        {"destination": "/made/data", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
    ]
    config["linux"].update(resources={"pids": {"limit": 50}})
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}
    config["hooks"] = {kind: [hook] for kind in ("createRuntime", "createContainer", "startContainer", "poststop")}
    bundle.write("/bin/sleep", "600")
    return Victim(life, leftovers)


def at_steps(
    victim: Victim, args: list[str], look: Callable[[int, str], None], *, stride: int = 1,
    prepare: Callable[[], object] = lambda: None,
) -> list[int]:  # fmt: skip
    """Send a signal before step 1, 2, 3 ... and look each time; returns the exit codes."""
    codes: list[int] = []
    for number, which in zip(range(1, MAX_STEPS, stride), itertools.cycle(SIGNALS)):
        prepare()
        code = victim.kill("parent", f"{number}:{which}", *args)
        what = f"{args[0]}, {which.name} before step {number}: {code} {victim.said()}"
        begun = {0, 129, 131, 143} & set(codes)  # so far its end is the signal's default, and Python's for SIGINT
        assert code in (0, 128 + which) or (code == -which and not begun), what
        assert "Traceback" not in what and "internal error" not in what, what
        look(code, what)
        codes.append(code)
        if codes[-THROUGH:] == [0] * THROUGH:
            return codes
    raise AssertionError("it never got through")


def nothing(victim: Victim, what: str) -> None:
    """Check that nothing is left although nobody has deleted anything, and that delete finds the same."""
    assert victim.runjail.ids() == [], what
    assert not list(victim.runjail.root.glob("c/*")), what
    assert until(lambda: not victim.processes()), what
    victim.nothing_is_left(what)


def test_create(victim: Victim) -> None:
    """It is taken back as when a step fails, or it is complete."""

    def look(code: int, what: str) -> None:
        if code == 0:
            assert victim.runjail.state("c")["status"] == "created", what
            victim.nothing_is_left(what)
        else:
            nothing(victim, what)

    codes = at_steps(victim, ["create", "-b", str(victim.life.path), "c"], look)

    assert sum(map(bool, codes)) > 20


def test_run_in_the_foreground(victim: Victim) -> None:
    """Until there is a program to send them to."""
    bundle = victim.life.bundle.write("/bin/true")
    codes = at_steps(victim, ["run", "-b", bundle, "c"], lambda _code, what: nothing(victim, what), stride=4)

    assert sum(map(bool, codes)) > 5


def test_start(victim: Victim) -> None:
    """Taken back, like a hook that fails, before the gate is opened; afterwards the program runs."""

    def look(code: int, what: str) -> None:
        if code == 0:
            assert victim.runjail.state("c")["status"] == "running", what
        victim.nothing_is_left(what)

    def prepare() -> None:
        victim.runjail.ok("create", "-b", str(victim.life.path), "c")

    codes = at_steps(victim, ["start", "c"], look, prepare=prepare, stride=3)

    assert any(codes)


def test_exec(victim: Victim) -> None:
    """Its process runs, and a pid file names it, or neither is there."""
    victim.runjail.ok("run", "-d", "-b", str(victim.life.path), "c")
    pid_file = victim.life.path / "exec.pid"

    def look(code: int, what: str) -> None:
        listed = victim.runjail.ok("ps", "-f", "json", "c").stdout
        if code == 0:
            victim.runjail.ok("kill", "--pid", pid_file.read_text(), "c", "KILL")
            pid_file.unlink()
        assert pid_file.exists() is False, what
        assert until(lambda: victim.runjail.ok("ps", "-f", "json", "c").stdout.count(",") == 0), (what, listed)

    args = ["exec", "-d", "--pid-file", str(pid_file), "c", "/bin/sleep", "600"]
    codes = at_steps(victim, args, look)

    assert sum(map(bool, codes)) > 5


def test_delete(victim: Victim) -> None:
    """It has not begun, or it is finished."""

    def look(code: int, what: str) -> None:
        if code == 0:
            nothing(victim, what)
        else:
            assert victim.runjail.state("c")["status"] == "running", what

    def prepare() -> None:
        if not victim.runjail.ids():
            victim.runjail.ok("run", "-d", "-b", str(victim.life.path), "c")

    at_steps(victim, ["delete", "--force", "c"], look, prepare=prepare)


def test_signals_without_end(victim: Victim) -> None:
    """The second and later ones come while what was begun is being undone."""
    command = [victim.runjail.program, "--root", str(victim.runjail.root), "create", "-b", str(victim.life.path), "c"]
    codes = []
    for delay in range(12):
        code = signalled(victim, command, 0.01 + delay * 0.01, every=0.002)
        what = f"{delay}: {code} {victim.said()}"
        codes.append(code)
        if code:  # 143 and the like, or ended by the signal before anything was begun
            nothing(victim, what)
        else:
            victim.nothing_is_left(what)

    assert any(codes)


def test_control_signals_that_ask_for_nothing(victim: Victim) -> None:
    """A call that is continued after a stop, a window that changes its size: the container is made."""
    for number, which in zip(range(2, 60, 7), itertools.cycle(HARMLESS)):
        code = victim.kill("parent", f"{number}:{which}", "create", "-b", str(victim.life.path), "c")
        assert code == 0, (which, victim.said())
        victim.nothing_is_left(which.name)


def test_control_a_caller_that_ignores_them(victim: Victim) -> None:
    """nohup(1), and background jobs of a shell: SIGHUP and SIGINT stay ignored."""

    def ignore() -> None:
        for which in (signal.SIGHUP, signal.SIGINT):
            signal.signal(which, signal.SIG_IGN)

    command = [victim.runjail.program, "--root", str(victim.runjail.root), "create", "-b", str(victim.life.path), "c"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=ignore, env={})
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)

    assert process.returncode == 0
    victim.nothing_is_left("ignored")


def names(store: Path) -> set[str]:
    """Return what a store of directories holds, by name, but for random numbers and files that no lock became.

    Those are `prune`'s to remove: a second signal hits the removal of one now and then.
    """
    found = {str(path.relative_to(store)) for path in store.rglob("*")}
    return {re.sub(r"[0-9a-f]{12,}", "X", name) for name in found if not name.startswith("locks/new-")}


def interrupted(victim: Victim, delay: float, *words: str) -> int:
    """Start a verb and send it signals from `delay` seconds on until it ends. Returns its exit code."""
    command = [victim.runjail.program, "--root", str(victim.runjail.root), *words]
    return signalled(victim, command, delay, every=0.005)


def signalled(victim: Victim, command: list[str], delay: float, every: float) -> int:
    """Start a command and send it signals, from `delay` seconds on until it ends. Returns its exit code."""
    with open(victim.life.path / "said", "wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={"PATH": PATH})
        time.sleep(delay)
        for which in itertools.cycle(SIGNALS):
            process.send_signal(which)
            if process.poll() is not None:
                break
            time.sleep(every)
    what = f"{command}, from {delay} s on: {process.returncode} {victim.said()}"
    assert "Traceback" not in what and "internal error" not in what, what
    assert process.returncode in {0} | {number for each in SIGNALS for number in (128 + each, -each)}, what
    return process.returncode


@pytest.mark.parametrize("verb", ["import", "unpack", "run"])
def test_images(victim: Victim, tmp_path: Path, machine_rootfs: Path, verb: str) -> None:
    """A store that was disturbed holds what one that was not does, when the verb has succeeded at last."""
    archive = f"oci-archive:{tmp_path}/hello.tar:hello"
    clean, store = tmp_path / "clean", tmp_path / "store"
    words = {
        "import": ["image", "import", "-q", archive, "hello"],
        "unpack": ["image", "unpack", "-q", "hello"],
        "run": ["run", "-q", "--image", "hello", "c", "--", "/bin/true"],
    }[verb]
    ours, theirs = (["--store", f"dir:{place}"] for place in (clean, store))
    victim.runjail.ok(*ours, "image", "import", "-q", "--cmd", "/bin/echo", f"rootfs:{machine_rootfs}", "hello")
    victim.runjail.ok(*ours, "image", "export", "-q", "hello", archive)
    shutil.rmtree(clean)
    for place in (ours, theirs):
        if verb != "import":
            victim.runjail.ok(*place, "image", "import", "-q", archive, "hello")
    store.mkdir(exist_ok=True)
    untouched = shutil.copytree(store, tmp_path / "untouched")
    begun = time.monotonic()
    victim.runjail.ok(*ours, *words)
    delay = (time.monotonic() - begun) / 2
    codes = []
    for _ in range(14):  # earlier each time that it came too late: once it is early enough, whatever the machine does
        codes.append(interrupted(victim, delay, *theirs, *words))
        delay *= 1.2 if codes[-1] else 0.6
        if not codes[-1]:
            assert names(store) == names(clean)
            shutil.rmtree(store)
            shutil.copytree(untouched, store)
    victim.runjail.ok(*theirs, *words)

    assert any(codes)
    assert names(store) == names(clean)
    assert victim.runjail.ids() == []
    assert victim.leftovers.mounts(str(tmp_path)) == []
