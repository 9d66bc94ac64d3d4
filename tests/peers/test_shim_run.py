"""ctr and our shim: what a container's caller sees."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.peers.commands import (
    RUNJAIL,
    call,
    check_terminal,
    eventually,
    finish,
    on_terminal,
    processes_naming,
    start,
)
from tests.support.peers.shims import CANNOT_RUN, RUNTIME, SHIM, Containerd
from tests.support.peers.tasks import pause_and_resume

FIFO_BYTES = 65536  # pipe(7)
pytestmark = [pytest.mark.peers("containerd", "ctr"), pytest.mark.linux]
ON_TERMINAL = 'tty; until test "$(stty size)" = "33 101"; do sleep 0.02; done; read word; echo "got $word"; read last'


@pytest.fixture(scope="module")
def daemon(containerd: Callable[..., Containerd]) -> Iterator[Containerd]:
    """One containerd for all tests here."""
    made = containerd()
    made.import_image()
    return made


# run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 255])
def test_output_and_exit_code(ctr: Containerd, code: int) -> None:
    done = ctr.run("--rm web", "sh", "-c", f"echo out; echo err >&2; exit {code}")

    assert (done.code, done.out) == (code, "out\n"), done
    assert "err\n" in done.err


def test_many_short_containers(ctr: Containerd) -> None:
    """A program that ends at once is heard of after its start, every time: containerd would wait for ever."""
    for _ in range(15):
        assert ctr.run("--rm web", "true").code == 0


def test_input(ctr: Containerd) -> None:
    """Two lines and no more: this ctr never closes a container's input, whatever the runtime."""
    done = ctr.run("--rm web", "sh", "-c", "head -n 2; echo end", stdin="one\ntwo\n")

    assert (done.code, done.out) == (0, "one\ntwo\nend\n"), done


def test_much_output_to_a_slow_reader(ctr: Containerd) -> None:
    """10 MB come though the reader lets the pipes run full, without a gap.

    ctr 1.6 closes its FIFO once it hears of the end, and what is in it is lost: 28 of 30 slow readers missed the end
    on a busy machine, up to 64 KiB with our shim and up to 128 with runc's. That the FIFO holds all of it is what
    tests/shim/test_shim_output.py shows.
    """
    words = [*ctr.command, *ctr.words("--rm web", "sh", "-c", "yes runjail | head -c 10485760")]
    with start(words, ctr.env) as process:
        assert process.stdout
        first = process.stdout.read(4096)
        time.sleep(0.5)
        said = first + process.stdout.read()
        code = process.wait(120)

    assert code == 0
    assert 10485760 - FIFO_BYTES <= len(said) <= 10485760
    assert said == (b"runjail\n" * (10485760 // 8))[: len(said)]


def test_terminal(ctr: Containerd) -> None:
    """It ends when its last line is seen: this ctr may leave before it has shown the end, with runc's shim as well."""
    words = [*ctr.command, *ctr.words("--rm -t web", "sh", "-c", f"{ON_TERMINAL}; exit 4")]
    check_terminal(words, ctr.env, 4, size=(33, 101), last=b"got hello")


def test_much_output_on_a_terminal(ctr: Containerd) -> None:
    """Nothing is missing in between. This ctr may leave before it has shown the end, with runc's shim as well; that the
    FIFO holds all of it is what tests/shim/test_shim_terminal.py shows.
    """
    words = [*ctr.command, *ctr.words("--rm -t web", "sh", "-c", "yes runjail | head -n 20000; echo last")]
    done = on_terminal(words, ctr.env)

    shown = done.out.replace("\r", "")

    assert done.code == 0
    assert len(shown) > 10000
    assert ("runjail\n" * 20000 + "last\n").startswith(shown)


@pytest.mark.parametrize(("program", "reason"), CANNOT_RUN)
def test_a_program_that_cannot_run(ctr: Containerd, program: str, reason: str) -> None:
    done = ctr.run("--rm web", program)

    assert done.code != 0
    said = done.err.rstrip("\n").removesuffix(": unknown")  # which containerd 2 does not add
    assert said == f"ctr: failed to create shim task: OCI runtime create failed: {reason}"


def test_options(ctr: Containerd) -> None:
    data = ctr.directory / "data"
    data.mkdir(exist_ok=True)
    options = "--rm --env NAME=value --cwd /var --read-only"
    options += f" --mount type=bind,src={data},dst=/mnt,options=rbind:rw web"
    script = "pwd; echo $NAME; touch /file 2>/dev/null || echo refused; ls -d /mnt"
    done = ctr.run(options, "sh", "-c", script)

    assert (done.code, done.lines) == (0, ["/var", "value", "refused", "/mnt"]), done


@pytest.mark.needs("cgroups")
def test_a_memory_limit(ctr: Containerd) -> None:
    """Who exceeds it is killed, and containerd hears why."""
    with ctr.listening() as events:
        done = ctr.run("--rm --memory-limit 33554432 web", "sh", "-c", "exec tail /dev/zero")
        said = events()

    assert done.code == 137
    assert "/tasks/oom" in said
    assert said.index("/tasks/oom") < said.index("/tasks/exit")


def test_order_of_events(ctr: Containerd) -> None:
    """Create, start, exit, delete; and what exec adds stands between."""
    with ctr.listening() as events:
        ctr.detached("web", "sleep", "600")
        ctr.exec("web", "true")
        ctr.ok("task", "pause", "web")
        ctr.ok("task", "resume", "web")
        ctr.ok("task", "kill", "--signal", "KILL", "web")
        ctr.stopped("web")
        ctr.ok("task", "delete", "web")
        said = events()
    topics = [line.split(" /tasks/")[1].split()[0] for line in said.splitlines() if " /tasks/" in line]

    expected = "create start exec-added exec-started exit delete paused resumed exit delete".split()
    assert [topic for topic in topics if topic != "delete"] == [topic for topic in expected if topic != "delete"]
    assert topics[-1] == "delete"


def test_output_to_a_file(ctr: Containerd) -> None:
    path = ctr.directory / "logs" / "web.log"
    ctr.ok(*ctr.words(f"-d --log-uri file://{path} web", "sh", "-c", "echo out; echo err >&2"))
    ctr.stopped("web")

    assert sorted(path.read_text(encoding="ascii").splitlines()) == ["err", "out"]


def test_output_to_a_program(ctr: Containerd) -> None:
    """It reads descriptors 3 and 4, is told whose output that is, and has ended when the task is deleted."""
    program, path = ctr.directory / "logger", ctr.directory / "logged"
    script = f'#!/bin/sh\necho "$CONTAINER_NAMESPACE $CONTAINER_ID $*" >{path}\nexec 5>&-\ncat <&3 >>{path}\n'
    program.write_text(script, encoding="ascii")
    program.chmod(0o755)
    ctr.ok(*ctr.words(f"-d --log-uri binary://{program}?a=b web", "sh", "-c", "echo one; sleep 0.1; echo two"))
    ctr.stopped("web")
    ctr.ok("task", "delete", "web")

    assert path.read_text(encoding="ascii").splitlines() == ["default web a b", "one", "two"]


def test_a_logging_program_that_does_not_end(ctr: Containerd) -> None:
    """It has two seconds when the task is deleted; then it is killed."""
    program, line = ctr.directory / "stubborn", f"sleep 607.{os.getpid()}"  # another session may have one
    program.write_text(f"#!/bin/sh\nexec 5>&-\nexec {line}\n", encoding="ascii")
    program.chmod(0o755)
    ctr.ok(*ctr.words(f"-d --log-uri binary://{program} web", "true"))
    ctr.stopped("web")
    ctr.ok("task", "delete", "web")

    assert processes_naming(line) == []


def test_a_client_that_vanishes(ctr: Containerd) -> None:
    """The container goes on, without a signal and without an end of its input, and another client can attach."""
    script = "while ! test -e /tmp/go; do echo waiting; sleep 0.02; done; rm /tmp/go; echo attached; exit 6"
    with start([*ctr.command, *ctr.words("web", "sh", "-c", script)], ctr.env) as client:
        assert client.stdout and client.stdout.readline() == b"waiting\n"
        client.kill()
    time.sleep(0.2)
    assert ctr.tasks()["web"][1] == "RUNNING"
    with start([*ctr.command, "task", "attach", "web"], ctr.env) as other:
        assert other.stdout and other.stdout.readline() == b"waiting\n"
        (ctr.rootfs / "tmp" / "go").touch()
        done = finish(other)

    assert done.code == 6
    assert done.lines[-1] == "attached"


def test_a_shim_by_its_path(ctr: Containerd) -> None:
    """A runtime may be an absolute path; everything works as by name."""
    ctr.runtime = str(SHIM)
    try:
        done = ctr.run("--rm web", "echo", "by path")
    finally:
        ctr.runtime = RUNTIME

    assert (done.code, done.out) == (0, "by path\n"), done


def test_an_image(ctr: Containerd) -> None:
    """containerd hands over the mounts of a snapshot; the shim makes them and takes them away."""
    done = ctr(*ctr.image_words("--rm web", "sh", "-c", "echo x >/new; cat /new; head -n 1 /proc/mounts"))
    again = ctr(*ctr.image_words("--rm web", "ls", "/new"))

    assert (done.code, done.lines[0]) == (0, "x"), done
    assert again.code != 0
    assert ctr.ours.mounts(str(ctr.directory)) == []


def test_mounts_are_taken_back_when_creating_fails(ctr: Containerd) -> None:
    done = ctr(*ctr.image_words("--rm web", "nope"))

    assert "not found in $PATH" in done.err
    assert ctr.ours.mounts(str(ctr.directory)) == []


def test_five_at_once(ctr: Containerd) -> None:
    words = [ctr.words(f"--rm web{number}", "sh", "-c", f"echo {number}; exit {number}") for number in range(1, 6)]
    running = [start([*ctr.command, *each], ctr.env) for each in words]
    done = [finish(process) for process in running]

    assert [(one.code, one.out) for one in done] == [(number, f"{number}\n") for number in range(1, 6)], done


# tasks ------------------------------------------------------------------------------------------------------------


def test_life_in_the_background(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sh", "-c", "trap 'exit 42' TERM; echo x >/tmp/ready; while :; do sleep 0.1; done")
    ready = ctr.rootfs / "tmp" / "ready"
    eventually(ready.exists, "the trap is set")
    ready.unlink()
    status = json.loads(call([str(RUNJAIL), "--root", str(ctr.state), "state", "web"], ctr.env).out)

    assert (status["status"], status["pid"]) == ("running", pid)
    assert ctr.tasks()["web"] == (pid, "RUNNING")
    assert ctr("task", "delete", "web").code != 0  # it runs
    ctr.ok("task", "kill", "--signal", "TERM", "web")
    ctr.stopped("web")
    assert "exit code 42" in ctr.ok("task", "delete", "web").err
    assert ctr.tasks() == {}
    assert not (ctr.state / "web").exists()


def test_created_and_never_started(ctr: Containerd) -> None:
    """Deleting what only waits to be started kills it."""
    ctr.ok("container", "create", "--runtime", ctr.runtime, "--rootfs", str(ctr.rootfs), "web", "true")
    ctr.ok("task", "start", "--detach", "web")
    ctr.stopped("web")

    assert "exit code" not in ctr.ok("task", "delete", "web").err


def test_attach(ctr: Containerd) -> None:
    """What comes from then on is shown, and the exit code comes along."""
    script = "while ! test -e /tmp/go; do echo waiting; sleep 0.05; done; rm /tmp/go; echo attached; "
    script += "while ! test -e /tmp/end; do sleep 0.05; done; rm /tmp/end; exit 7"
    ctr.detached("web", "sh", "-c", script)
    with start([*ctr.command, "task", "attach", "web"], ctr.env) as process:
        for word, then in (("waiting", "go"), ("attached", "end")):
            assert process.stdout and f"{word}\n".encode() in process.stdout
            (ctr.rootfs / "tmp" / then).touch()
        done = finish(process)

    assert done.code == 7, done


def test_kill_of_a_stopped_task(ctr: Containerd) -> None:
    """It is "not found", which those who stop containers twice rely on."""
    ctr.detached("web", "true")
    ctr.stopped("web")
    done = ctr("task", "kill", "--signal", "KILL", "web")

    assert done.code != 0
    assert done.err.rstrip("\n").removesuffix(": not found").endswith("process already finished")  # containerd 2: none


def test_init_killed_from_outside(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sh", "-c", "sleep 601 & sleep 602 & wait")
    os.kill(pid, signal.SIGKILL)
    ctr.stopped("web")

    assert "exit code 137" in ctr.ok("task", "delete", "web").err


def test_processes_that_outlive_init(ctr: Containerd) -> None:
    """Without process numbers of their own they would go on: the shim ends them before it reports the end."""
    words = ctr.words("-d web", "sh", "-c", "sleep 603 & echo $! >/tmp/pid; sleep 0.2")
    words[words.index("--net-host") : words.index("--net-host")] = ["--with-ns", "pid:/proc/self/ns/pid"]
    ctr.ok(*words)
    ctr.stopped("web")
    path = ctr.rootfs / "tmp" / "pid"
    pid = int(path.read_text(encoding="ascii"))
    path.unlink()

    assert not os.path.exists(f"/proc/{pid}")
    ctr.ok("task", "delete", "web")


def test_exec(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")

    done = ctr.exec("web", "sh", "-c", "echo inside; exit 5")
    assert (done.code, done.out) == (5, "inside\n"), done
    assert ctr.exec("web", "cat", stdin="typed\n").out == "typed\n"  # this ctr does close the input of an exec
    assert ctr.exec("--user 1000 --cwd /var web", "sh", "-c", "id -u; pwd").lines == ["1000", "/var"]
    assert ctr.exec("--user 1000 web", "sh", "-c", "echo again >/dev/stdout").out == "again\n"
    absent = ctr.exec("web", "nope")
    assert absent.code != 0
    assert 'OCI runtime exec failed: exec: "nope": executable file not found in $PATH' in absent.err


def test_several_execs_at_once(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")
    words = [
        ctr.exec_words(f"--exec-id e{number} web", "sh", "-c", f"echo {number}; exit {number}") for number in range(8)
    ]
    running = [start([*ctr.command, *each], ctr.env) for each in words]
    done = [finish(process) for process in running]

    assert [(one.code, one.out) for one in done] == [(number, f"{number}\n") for number in range(8)]


def test_exec_on_a_terminal(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")
    words = ctr.exec_words("-t web", "sh", "-c", f"{ON_TERMINAL}; exit 5")
    check_terminal([*ctr.command, *words], ctr.env, 5, size=(33, 101), last=b"got hello")


def test_exec_in_the_background(ctr: Containerd) -> None:
    pid = ctr.detached("web", "sleep", "600")
    done = ctr.exec("-d --exec-id late web", "sleep", "601")
    assert done.code == 0, done
    rows = {int(line.split(None, 1)[0]): line.split(None, 1)[1] for line in ctr.ok("task", "ps", "web").lines[1:]}

    assert pid in rows
    assert sorted("late" in row for row in rows.values()) == [False, True]


def test_pause(ctr: Containerd) -> None:
    pause_and_resume(ctr)


def test_a_paused_container_is_killed(ctr: Containerd) -> None:
    ctr.detached("web", "sleep", "600")
    ctr.ok("task", "pause", "web")
    ctr.ok("task", "kill", "--signal", "KILL", "web")
    ctr.stopped("web")


def test_metrics(ctr: Containerd) -> None:
    ctr.detached("web", "sh", "-c", "while :; do :; done")
    v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    names = ("cpu.usage_usec", "memory.usage") if v2 else ("cpuacct.usage", "memory.usage_in_bytes")

    def busy() -> bool:
        values = dict(line.split(None, 1) for line in ctr.ok("task", "metrics", "web").lines if len(line.split()) == 2)
        return all(int(values[name]) > 0 for name in names)

    eventually(busy, "metrics show processor time")


def test_two_namespaces(ctr: Containerd) -> None:
    """The same id twice: each of containerd's namespaces has a state directory of its own."""
    other = ["--namespace", "other"]
    ctr.detached("web", "sleep", "600")
    ctr.ok(*other, *ctr.words("-d web", "sleep", "600"))
    state = ctr.state.parent

    assert sorted(str(path.relative_to(state)) for path in state.glob("*/*")) == ["default/web", "other/web"]
    ctr(*other, "task", "delete", "--force", "web")
    ctr.ok(*other, "container", "rm", "web")
    assert ctr.tasks()["web"][1] == "RUNNING"
