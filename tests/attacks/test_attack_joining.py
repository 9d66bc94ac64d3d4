"""Seeing and stopping from inside what comes into a container: exec, hooks, and a second container of a pod.

A spy (spy.c) with CAP_SYS_PTRACE watches /proc in the container while verbs send processes in. The host's environment
and a file that only the host has are what it looks for, besides descriptors and privileges. RUNJAIL_EXECS says how many
processes are sent in, 100 by default.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import until
from tests.support.program import TOP, Bundle, Result, Runjail

SECRET = "SECRET=of-the-host-4711"
CAPABILITIES = ["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"]
EXECS = int(os.environ.get("RUNJAIL_EXECS", "100"))
MORE = 10  # times as often where the spy sees too few
PATIENCE = 4  # seconds: ANSWER_SECONDS of the program in tests of what is stopped
STARTER = """\
#!{python} -IS
import sys
sys.path.insert(0, {top!r})
from runjail.host import base
base.ANSWER_SECONDS = {patience}
from runjail.cli.main import main
main()
"""

pytestmark = [pytest.mark.linux, pytest.mark.needs("gcc")]


class Watched:
    """A running container in which spies can be started."""

    def __init__(self, runjail: Runjail, bundle: Bundle, spy: Path, marker: Path) -> None:
        self.runjail, self.bundle, self.marker = runjail, bundle, marker
        self.spies: list[subprocess.Popen[bytes]] = []
        marker.write_text("only the host has this", encoding="ascii")
        shutil.copy(spy, bundle.rootfs / "bin" / "spy")
        self.grant(bundle)

    def grant(self, bundle: Bundle) -> None:
        """Give the processes of a bundle what a debugger has."""
        sets = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
        bundle.config["process"]["capabilities"] = sets

    def start(self) -> None:
        """Start the container."""
        self.runjail.ok("create", "-b", self.bundle.write("/bin/sleep", "600"), "c")
        self.runjail.ok("start", "c")

    def watch(self, *words: str) -> None:
        """Start a spy, by default for our marker and secret, and wait until it watches."""
        asked = words or (str(self.marker), SECRET)
        command = [self.runjail.program, "--root", str(self.runjail.root), "exec", "c", "/bin/spy", *asked]
        self.spies.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, env={}))
        until((self.bundle.rootfs / "ready").exists)

    def often(self, times: int, least: float) -> Iterator[int]:
        """Count to so many, and on until the spy has seen enough processes: a busy machine lets it miss most."""
        for number in range(times * MORE):
            if number >= times and self.seen >= least:
                return
            yield number

    def start_with_hooks(self, number: int) -> None:
        """Start the container under a spy, with that many startContainer hooks; anew until the spy has seen one."""
        self.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}] * number}
        for at in range(MORE):
            if at:
                self.calm()
                self.runjail.ok("delete", "--force", "c")
                for name in ("stop", "ready"):
                    (self.bundle.rootfs / name).unlink()
            self.runjail.ok("create", "-b", self.bundle.write("/bin/sleep", "600"), "c", env=environment())
            self.watch()
            self.runjail.ok("start", "c", env=environment())
            if self.seen:
                return

    def lives_beside(self, bundle: str, number: int, least: float) -> None:
        """Create, start and delete containers of a bundle that shares namespaces with ours. least: see `often`."""
        for id in (f"pod{at}" for at in self.often(number, least)):
            self.runjail.ok("create", "-b", bundle, id, env=environment())
            self.runjail.ok("start", id, env=environment())
            self.runjail.ok("delete", "--force", id)

    def calm(self) -> None:
        """Let the spies end."""
        (self.bundle.rootfs / "stop").touch()
        for spy in self.spies:
            spy.wait(120)

    def found(self) -> list[str]:
        """Return what the spy has found, once it has ended."""
        self.calm()
        path = self.bundle.rootfs / "found"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    @property
    def seen(self) -> int:
        """How many processes the spy has seen."""
        return int((self.bundle.rootfs / "seen").read_text(encoding="ascii") or 0)

    def pod(self, other: Bundle) -> str:
        """Let another bundle share the pid namespace of our container. Returns the path of that bundle."""
        self.grant(other)
        pid = self.runjail.state("c")["pid"]
        for namespace in other.config["linux"]["namespaces"]:
            if namespace["type"] == "pid":
                namespace["path"] = f"/proc/{pid}/ns/pid"
        return other.write("/bin/sleep", "600")


@pytest.fixture
def watched(runjail: Runjail, bundle: Bundle, spy: Path, tmp_path: Path) -> Iterator[Watched]:
    made = Watched(runjail, bundle, spy, tmp_path / "marker")
    yield made
    made.calm()


@pytest.fixture(params=["tracer", "same user"])
def watching(request: pytest.FixtureRequest, watched: Watched) -> Watched:
    """With a spy that has CAP_SYS_PTRACE, and one that has only the ids of what it looks at."""
    if request.param == "same user":
        watched.bundle.config["process"] |= {"capabilities": {}, "user": {"uid": 1000, "gid": 1000}}
        watched.bundle.rootfs.chmod(0o777)  # for what it writes
    return watched


def impatient(runjail: Runjail, tmp_path: Path) -> None:
    """Let the program wait less long than it usually does for processes that may be stopped."""
    script = tmp_path / "impatient"
    python = os.path.realpath(sys.executable)
    script.write_text(STARTER.format(python=python, top=str(TOP), patience=PATIENCE), encoding="utf-8")
    script.chmod(0o755)
    runjail.program = str(script)


def environment() -> dict[str, str]:
    """Return the environment of a caller who has something to hide."""
    return dict([SECRET.split("=")])


def test_the_spy_sees_its_own_container(watching: Watched) -> None:
    """What is looked for is found, where it belongs to the container: a file, the environment of a process."""
    watching.start()
    watching.watch("/etc/hosts", "PATH=")
    watching.runjail.ok("exec", "c", "/bin/sleep", "1")

    assert {line.split()[0] for line in watching.found()} >= {"root", "cwd", "environ"}
    assert watching.seen >= 1


@pytest.mark.limit(600 + 10 * EXECS)
def test_exec_shows_nothing(watching: Watched) -> None:
    watching.start()
    watching.watch()
    for _ in watching.often(EXECS, EXECS / 2):
        watching.runjail.ok("exec", "c", "/bin/true", env=environment())

    assert watching.found() == []
    assert watching.seen >= EXECS / 2, "the spy was too slow to see them"


def test_exec_with_a_terminal_shows_nothing(watched: Watched) -> None:
    """Neither the terminal's other end, nor what standard input was."""
    watched.start()
    watched.watch()
    for _ in watched.often(EXECS // 4, EXECS / 8):
        watched.runjail.ok("exec", "-t", "c", "/bin/true", env=environment())

    assert watched.found() == []
    assert watched.seen >= EXECS / 8


def test_hooks_inside_show_nothing(watched: Watched) -> None:
    """A startContainer hook is brought in as `exec` brings in a process."""
    watched.start_with_hooks(40)

    assert watched.found() == []
    assert watched.seen >= 1


@pytest.mark.limit(600 + 10 * EXECS)
def test_another_container_of_the_pod_shows_nothing(watched: Watched, make_bundle: Callable[[str], Bundle]) -> None:
    """Its root is the host's until it has been made: nobody of the pod sees it before, nor who mounts its /proc."""
    watched.start()
    watched.watch()
    bundle = watched.pod(make_bundle("second"))
    watched.lives_beside(bundle, EXECS // 5, EXECS / 5)

    assert watched.found() == []
    assert watched.seen >= EXECS / 5


def test_containers_of_a_pod_see_each_other(watched: Watched, make_bundle: Callable[[str], Bundle]) -> None:
    """And end alone: what is deleted is the container, not the pod."""
    watched.start()
    bundle = watched.pod(make_bundle("second"))
    watched.runjail.ok("create", "-b", bundle, "pod")
    first, second = watched.runjail.state("c")["pid"], watched.runjail.state("pod")["pid"]
    watched.runjail.ok("start", "pod")
    watched.runjail.ok("exec", "-d", "pod", "/bin/sleep", "601")
    listed = {id: watched.runjail.ok("exec", id, "/bin/ps").stdout for id in ("c", "pod")}
    inside = json.loads(watched.runjail.ok("ps", "-f", "json", "pod").stdout)
    watched.runjail.ok("delete", "--force", "pod")

    assert [text.count("sleep 600") for text in listed.values()] == [2, 2]
    assert len(inside) == 2 and second in inside and first not in inside
    assert watched.runjail.state("c")["status"] == "running"
    until(lambda: "sleep 601" not in watched.runjail.ok("exec", "c", "/bin/ps").stdout)


# Processes that are stopped from inside ---------------------------------------------------------------------------


def no_answer(result: Result) -> bool:
    """Whether a verb gave up, and said so."""
    return result.returncode != 0 and f"does not answer after {PATIENCE} s" in result.stderr


@pytest.mark.parametrize("way", ["stop", "trace"])
def test_a_stopped_exec_ends(watched: Watched, tmp_path: Path, way: str) -> None:
    """The container stops whatever it sees: `exec` gives up, and its process is gone."""
    watched.start()
    watched.watch(way)
    impatient(watched.runjail, tmp_path)
    results = []
    for _ in range(10):
        results.append(watched.runjail("exec", "-d", "c", "/bin/sleep", "601", timeout=600))
        if no_answer(results[-1]):
            break
    watched.calm()

    assert no_answer(results[-1]), results
    assert "hint: it was stopped or frozen, perhaps from inside: runjail delete --force ends" in results[-1].stderr
    started = [result for result in results if result.returncode == 0]
    assert watched.runjail.ok("exec", "c", "/bin/ps").stdout.count("sleep 601") == len(started)


def test_a_stopped_init_ends_start(watched: Watched, make_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    """A container of a pod is stopped by another one while it waits for `start`, which gives up and kills it."""
    watched.start()
    watched.runjail.ok("create", "-b", watched.pod(make_bundle("second")), "pod")
    script = "kill -STOP $(ps -o pid,args | grep [r]unjail | cut -c 1-5)"
    watched.runjail.ok("exec", "c", "/bin/sh", "-c", script)
    impatient(watched.runjail, tmp_path)
    begun = time.monotonic()
    result = watched.runjail("start", "pod", timeout=600)

    assert no_answer(result), result
    assert time.monotonic() - begun >= PATIENCE
    assert watched.runjail.wait("pod")["status"] == "stopped"
    watched.runjail.ok("delete", "pod")


def test_force_wins_against_a_start_that_waits(watched: Watched, make_bundle: Callable[[str], Bundle]) -> None:
    """`start` holds the container, for a minute; `delete --force` does not wait that long."""
    watched.start()
    watched.runjail.ok("create", "-b", watched.pod(make_bundle("second")), "pod")
    os.kill(watched.runjail.state("pod")["pid"], signal.SIGSTOP)
    words = [watched.runjail.program, "--root", str(watched.runjail.root), "start", "pod"]
    start = subprocess.Popen(words, env={})
    until(lambda: not (watched.runjail.root / "pod" / "gate").exists())
    try:
        watched.runjail.ok("delete", "--force", "pod", timeout=200)
        assert start.wait(120) == 1
    finally:
        start.kill()

    assert "pod" not in watched.runjail.ids()


@pytest.mark.needs("cgroups")
def test_force_wins_against_a_frozen_container(watched: Watched) -> None:
    """A container with control groups of its own froze itself in one of them: it dies when it is thawed."""
    freezer = Path("/sys/fs/cgroup/freezer")
    if not freezer.is_dir():
        pytest.skip("needs the freezer of control groups v1")
    watched.start()
    own = freezer / watched.bundle.config["linux"]["cgroupsPath"].lstrip("/") / "below"
    own.mkdir()
    (own / "cgroup.procs").write_text(str(watched.runjail.state("c")["pid"]), encoding="ascii")
    (own / "freezer.state").write_text("FROZEN", encoding="ascii")
    watched.runjail.ok("delete", "--force", "c", timeout=200)

    assert watched.runjail.ids() == []
    assert not own.exists()


@pytest.mark.parametrize("way", ["stop", "trace"])
def test_a_stopped_second_container_is_not_made(
    watched: Watched, make_bundle: Callable[[str], Bundle], tmp_path: Path, way: str
) -> None:
    """Whatever of it is stopped, `create` gives up and leaves nothing."""
    watched.start()
    watched.watch(way)
    bundle = watched.pod(make_bundle("second"))
    impatient(watched.runjail, tmp_path)
    for _ in range(10):
        result: Any = watched.runjail("create", "-b", bundle, "pod", timeout=600)
        watched.runjail.ok("delete", "--force", "pod")
        if result.returncode:
            break
    watched.calm()

    assert no_answer(result) or "was stopped from inside" in result.stderr, result
    assert watched.runjail.ids() == ["c"]
    assert watched.runjail.ok("exec", "c", "/bin/ps").stdout.count("sleep") == 1
