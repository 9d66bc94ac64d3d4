"""containerd and its shim for runc, as they are, with runjail in runc's place."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.image.oci import CONFIGURATION
from tests.support.leftovers import Leftovers
from tests.support.peers.commands import (
    PATH,
    RUNJAIL,
    Finished,
    Tidiness,
    call,
    check_terminal,
    eventually,
    finish,
    start,
)
from tests.support.peers.shims import CANNOT_RUN
from tests.support.peers.tasks import pause_and_resume
from tests.support.processes import end

pytestmark = [pytest.mark.peers("containerd", "ctr", "containerd-shim-runc-v2"), pytest.mark.linux]

RUNTIME = "--runc-binary {program} --runc-root {state}"


class Containerd:
    """A containerd of our own, and ctr to talk to it. `rootfs` is what containers run on."""

    def __init__(self, directory: Path, rootfs: Path, leftovers: Leftovers) -> None:
        self.directory, self.rootfs, self.state, self.ours = directory, rootfs, directory / "runjail", leftovers
        self.socket = str(directory / "containerd.sock")
        self.env = {"PATH": PATH, leftovers.MARK: leftovers.base}  # the shims inherit the mark
        (directory / "config.toml").write_text(CONFIGURATION.format(directory), encoding="ascii")
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["containerd", "--config", str(directory / "config.toml")],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def words(self, *args: str, namespace: str = "default") -> list[str]:
        """Return a whole command line of ctr's."""
        return ["ctr", "--address", self.socket, "--namespace", namespace, *args]

    def __call__(self, *args: str, namespace: str = "default", **more: Any) -> Finished:
        """Run one command of ctr's."""
        return call(self.words(*args, namespace=namespace), self.env, **more)

    def ok(self, *args: str, **more: Any) -> Finished:
        """Run it and insist on success."""
        done = self(*args, **more)
        assert done.code == 0, done
        return done

    def run_words(
        self, id: str, *command: str, options: tuple[str, ...] = ("--rm",), namespace: str = "default"
    ) -> list[str]:
        """Return the words of `ctr run` with runjail as the runtime."""
        ours = RUNTIME.format(program=RUNJAIL, state=self.state).split()
        place = ["--fifo-dir", str(self.directory / "fifo"), "--cgroup", f"/{self.ours.group}/{namespace}-{id}"]
        mark = ["--env", f"{self.ours.MARK}={self.ours.base}"]
        return ["run", *options, *ours, *place, *mark, "--net-host", "--rootfs", str(self.rootfs), id, *command]

    def run(self, id: str, *command: str, options: tuple[str, ...] = ("--rm",), **more: Any) -> Finished:
        """Run a container and wait for what ctr says."""
        return self(*self.run_words(id, *command, options=options), **more)

    def detached(self, id: str, *command: str, namespace: str = "default") -> int:
        """Run a container in the background. Returns the pid of its init."""
        words = self.run_words(id, *command, options=("-d",), namespace=namespace)
        self.ok(*words, namespace=namespace)
        return self.tasks(namespace)[id][0]

    def exec(self, id: str, *command: str, options: tuple[str, ...] = (), **more: Any) -> Finished:
        """Run one more process in a container.

        On a busy machine ctr loses what a short one prints, one time in some hundred and with runc as well: it deletes
        the process before it has opened the FIFO. So one that printed nothing is run again.
        """
        for _ in range(5):
            done = self(*self.exec_words(id, *command, options=options), **more)
            if done.code or done.out or "--detach" in options or "-d" in options:
                break
        return done

    def exec_words(self, id: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the words of `ctr task exec`."""
        place = ["--fifo-dir", str(self.directory / "fifo")]
        return ["task", "exec", "--exec-id", "another", *place, *options, id, *command]

    def tasks(self, namespace: str = "default") -> dict[str, tuple[int, str]]:
        """Return pid and status of every task."""
        rows = [line.split() for line in self.ok("task", "ls", namespace=namespace).lines[1:]]
        return {id: (int(pid), status) for id, pid, status in rows}

    def remove(self, id: str, namespace: str = "default") -> None:
        """Delete a container whose task has stopped or is killed first."""
        self("task", "delete", "--force", id, namespace=namespace)
        self.ok("container", "rm", id, namespace=namespace)

    def remove_everything(self) -> None:
        """Delete what a failed test left."""
        for namespace in self.ok("namespace", "ls", "-q").lines:
            for id in self.ok("container", "ls", "-q", namespace=namespace).lines:
                self.remove(id, namespace)

    def end(self) -> None:
        """Stop containerd."""
        end(self.process)


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, machine_rootfs: Path, leftovers: Leftovers
) -> Iterator[Containerd]:
    """One containerd for all tests of this module."""
    directory = tmp_path_factory.mktemp("ctd")
    rootfs = directory / "rootfs"
    shutil.copytree(machine_rootfs, rootfs, symlinks=True)
    daemon = Containerd(directory, rootfs, leftovers)
    try:
        eventually(lambda: daemon("version").code == 0, "containerd answers", 30)
        yield daemon
    finally:
        daemon.end()
    Tidiness([directory], daemon.state, leftovers).check()


@pytest.fixture
def ctr(daemon: Containerd) -> Iterator[Containerd]:
    """The same, and after each test nothing but containerd itself is left."""
    yield daemon
    daemon.remove_everything()
    Tidiness([daemon.state], daemon.state, daemon.ours, (), (daemon.process.pid,)).check()


# run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 255])
def test_output_and_exit_code(ctr: Containerd, code: int) -> None:
    done = ctr.run("web", "sh", "-c", f"echo out; echo err >&2; exit {code}")

    assert (done.code, done.out) == (code, "out\n"), done
    assert "err\n" in done.err


def test_input(ctr: Containerd) -> None:
    """Two lines and no more: this ctr never closes a container's input, whatever the runtime."""
    done = ctr.run("web", "sh", "-c", "head -n 2; echo end", stdin="one\ntwo\n")

    assert (done.code, done.out) == (0, "one\ntwo\nend\n"), done


def test_much_output(ctr: Containerd) -> None:
    """It is read to its last line before the program ends: ctr 1.6 may drop the end (test_shim_run.py)."""
    seen = ctr.rootfs / "seen"
    seen.unlink(missing_ok=True)
    words = ctr.words(*ctr.run_words("web", "sh", "-c", "seq 750000; while ! test -e /seen; do sleep 0.1; done"))
    with start(words, ctr.env) as process:
        assert process.stdout
        out = bytearray()
        while not out.endswith(b"\n750000\n"):
            piece = os.read(process.stdout.fileno(), 1 << 16)
            assert piece, (len(out), bytes(out[-20:]))
            out += piece
        seen.touch()
        assert finish(process).code == 0

    assert out == b"".join(b"%d\n" % number for number in range(1, 750001))


def test_terminal(ctr: Containerd) -> None:
    words = ctr.run_words(
        "web", "sh", "-c", 'tty; read word; echo "got $word"; read last; exit 4', options=("--rm", "-t")
    )
    check_terminal(ctr.words(*words), ctr.env, 4, last=b"got hello")


@pytest.mark.parametrize(("program", "reason"), CANNOT_RUN)
def test_a_program_that_cannot_run(ctr: Containerd, program: str, reason: str) -> None:
    """The shim reads the reason from our JSON log: it has no other source."""
    done = ctr.run("web", program)

    assert done.code != 0
    assert done.err.rstrip("\n") == f"ctr: failed to create shim task: OCI runtime create failed: {reason}: unknown"


def test_options(ctr: Containerd) -> None:
    options = ("--rm", "--env", "NAME=value", "--cwd", "/var", "--read-only")
    script = "pwd; echo $NAME; touch /file 2>/dev/null || echo refused"
    done = ctr.run("web", "sh", "-c", script, options=options)

    assert (done.code, done.lines) == (0, ["/var", "value", "refused"]), done


def test_a_mount(ctr: Containerd) -> None:
    data = ctr.directory / "data"
    data.mkdir()
    options = ("--rm", "--mount", f"type=bind,src={data},dst=/data,options=rbind:rw")
    done = ctr.run("web", "sh", "-c", "echo new >/data/made", options=options)

    assert done.code == 0, done
    assert (data / "made").read_text(encoding="ascii") == "new\n"


def test_five_at_once(ctr: Containerd) -> None:
    words = [ctr.run_words(f"web{number}", "sh", "-c", f"echo {number}; exit {number}") for number in range(1, 6)]
    running = [start(ctr.words(*each), ctr.env) for each in words]
    done = [finish(process) for process in running]

    assert [(one.code, one.out) for one in done] == [(number, f"{number}\n") for number in range(1, 6)]


# tasks ------------------------------------------------------------------------------------------------------------


def test_life_in_the_background(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sh", "-c", "trap 'exit 42' TERM; echo x >/tmp/ready; while :; do sleep 0.1; done")
    ready = ctr.rootfs / "tmp" / "ready"
    eventually(ready.exists, "the trap is set")
    ready.unlink()
    status = json.loads(call([str(RUNJAIL), "--root", str(ctr.state / "default"), "state", "web"], ctr.env).out)

    assert (status["status"], status["pid"]) == ("running", pid)
    assert ctr.tasks()["web"] == (pid, "RUNNING")
    assert ctr("task", "delete", "web").code != 0  # it runs
    ctr.ok("task", "kill", "--signal", "TERM", "web")
    eventually(lambda: ctr.tasks()["web"][1] == "STOPPED", "it stops")
    assert "exit code 42" in ctr.ok("task", "delete", "web").err
    assert ctr.tasks() == {}
    assert not (ctr.state / "default" / "web").exists()


def test_kill_of_a_stopped_task(ctr: Containerd) -> None:
    """Our words make it "not found", which those who stop containers twice rely on."""
    ctr.detached("web", "true")
    eventually(lambda: ctr.tasks()["web"][1] == "STOPPED", "it stops")
    done = ctr("task", "kill", "--signal", "KILL", "web")

    assert done.code != 0
    assert "process already finished: not found" in done.err


def test_init_killed_from_outside(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sh", "-c", "sleep 601 & sleep 602 & wait")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: ctr.tasks()["web"][1] == "STOPPED", "the shim notices")

    assert "exit code 137" in ctr.ok("task", "delete", "web").err


def test_exec(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")

    done = ctr.exec("web", "sh", "-c", "echo inside; exit 5")
    assert (done.code, done.out) == (5, "inside\n"), done
    assert ctr.exec("web", "head", "-n", "1", stdin="typed\n").out == "typed\n"
    done = ctr.exec("web", "sh", "-c", "id -u; pwd", options=("--user", "1000", "--cwd", "/var"))
    assert done.lines == ["1000", "/var"], done
    absent = ctr.exec("web", "nope")
    assert absent.code != 0
    assert 'OCI runtime exec failed: exec: "nope": executable file not found in $PATH' in absent.err


def test_exec_on_a_terminal(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")
    words = ctr.exec_words("web", "sh", "-c", 'tty; read word; echo "got $word"; read last; exit 5', options=("-t",))
    check_terminal(ctr.words(*words), ctr.env, 5, last=b"got hello")


def test_exec_in_the_background(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sleep", "600")
    done = ctr.exec("web", "sh", "-c", "echo x >/tmp/mark; exec sleep 601", options=("-d",))
    mark = ctr.rootfs / "tmp" / "mark"
    eventually(mark.exists, "it runs")
    mark.unlink()

    assert done.code == 0, done
    pids = {int(line.split()[0]) for line in ctr.ok("task", "ps", "web").lines[1:]}
    assert pid in pids
    assert len(pids) == 2


def test_pause(ctr: Containerd) -> None:
    pause_and_resume(ctr)


@pytest.mark.needs("cgroups")
def test_metrics(ctr: Containerd) -> None:
    """The shim reads the control group that we have put init into."""
    ctr.detached("web", "sh", "-c", "while :; do :; done")

    def busy() -> bool:
        values = dict(line.split(None, 1) for line in ctr.ok("task", "metrics", "web").lines if len(line.split()) == 2)
        used = values.get("cpuacct.usage") or values.get("cpu.usage_usec") or "0"
        return int(used) > 0

    eventually(busy, "metrics show processor time")


def test_two_namespaces(ctr: Containerd) -> None:
    """The same id twice: the shim appends its namespace to --root."""
    pids = {name: ctr.detached("web", "sleep", "600", namespace=name) for name in ("one", "two")}

    assert pids["one"] != pids["two"]
    assert ctr.tasks("one") == {"web": (pids["one"], "RUNNING")}
    ctr.remove("web", "one")
    assert ctr.tasks("two") == {"web": (pids["two"], "RUNNING")}
    assert sorted(path.name for path in ctr.state.glob("*/*")) == ["web"]
    ctr.remove("web", "two")
