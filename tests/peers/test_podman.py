"""podman and conmon, as they are, with runjail as their runtime."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import (
    Tidiness,
    check_terminal,
    eventually,
    finish,
    start,
)
from tests.support.peers.podman import Podman

pytestmark = [pytest.mark.peers("podman", "conmon"), pytest.mark.linux]


@pytest.fixture
def make_podman(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Callable[..., Podman]]:
    rootfs = tmp_path / "rootfs"
    shutil.copytree(machine_rootfs, rootfs, symlinks=True)
    run = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # podman takes at most 50 characters
    made: list[Podman] = []

    def make(**how: bool) -> Podman:
        made.append(Podman(tmp_path, run, rootfs, leftovers, **how))
        return made[-1]

    yield make
    try:
        for podman in made:
            podman("rm", "--force", "--time=0", "--all")
            podman("umount", "--all", "--force")
            Tidiness([tmp_path, run], podman.state, leftovers, ("conmon",)).check()
    finally:
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture
def podman(make_podman: Callable[..., Podman]) -> Podman:
    return make_podman()


# run --------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("cgroups")  # else podman and conmon have words of their own
def test_output_and_input_pass_through(podman: Podman) -> None:
    done = podman.run("--rm -i", "sh", "-c", "cat; echo problem >&2", stdin="from outside\n")

    assert (done.code, done.out, done.err) == (0, "from outside\n", "problem\n")


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code_passes_through(podman: Podman, code: int) -> None:
    assert podman.run("--rm", "sh", "-c", f"exit {code}").code == code


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [
        ("/nope", 127, 'exec: "/nope": stat /nope: no such file or directory'),
        ("nope", 127, 'exec: "nope": executable file not found in $PATH'),
        ("/etc", 126, 'exec: "/etc": is a directory: permission denied'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_program_that_cannot_run(
    make_podman: Callable[..., Podman], form: str, program: str, code: int, reason: str
) -> None:
    """podman maps our words to exit codes, whether it reads them in our JSON log or on standard error."""
    done = make_podman(json=form == "json").run("--rm", program)

    assert done.code == code, done
    assert reason in done.err


def test_mount_points_stay_as_runc_leaves_them(podman: Podman) -> None:
    """What `podman export` and `podman commit` show of a container that has ended: it needs them in its next life."""
    assert podman.run("--rm", "true").code == 0

    for path in ("etc/hostname", "etc/resolv.conf", "run/.containerenv"):
        assert (podman.rootfs / path).read_bytes() == b"", path


def test_killed_from_outside_is_137(podman: Podman) -> None:
    """podman waits in the foreground; somebody else kills init."""
    with start([*podman.command, *podman.words("--name web", "sleep", "600")], podman.env) as foreground:
        eventually(lambda: podman("inspect", "web").code == 0 and podman.inspect("web")["Running"], "runs")
        os.kill(podman.inspect("web")["Pid"], 9)
        done = finish(foreground)

    assert done.code == 137, done
    assert podman.inspect("web")["ExitCode"] == 137


def test_terminal(podman: Podman) -> None:
    """A terminal of the container's own, as large as ours, that both sides use; and the exit code."""
    script = (
        'tty; until [ "$(stty size)" = "33 77" ]; do sleep 0.05; done; echo sized; read word; echo "got $word"; exit 5'
    )
    words = [*podman.command, *podman.words("--rm -it", "sh", "-c", script)]
    check_terminal(words, podman.env, 5, b"sized", (33, 77))


def test_five_at_once(podman: Podman) -> None:
    words = [podman.words("--rm", "sh", "-c", f"echo number {number}; exit {number}") for number in range(1, 6)]
    running = [start([*podman.command, *each], podman.env) for each in words]
    done = [finish(process) for process in running]

    assert [(one.code, one.out) for one in done] == [(number, f"number {number}\n") for number in range(1, 6)]


@pytest.mark.parametrize(
    ("options", "script", "shown"),
    [
        ("--user 1000:1000 --group-add 7", "id -u; id -g; id -G", ["1000", "1000", "1000 7"]),
        ("--user web", "id -un; echo $HOME", ["web", "/tmp"]),
        ("--workdir /var", "pwd", ["/var"]),
        ("--env NAME=value --env EMPTY=", 'echo "$NAME-${EMPTY-unset}-"', ["value--"]),
        ("--ulimit nofile=99:100 --ulimit nproc=1000:1000", "ulimit -n; ulimit -Hn", ["99", "100"]),
        ("--hostname wonderland", "hostname", ["wonderland"]),
        ("--read-only", "touch /file 2>/dev/null || echo refused; touch /tmp/file && echo made", ["refused", "made"]),
        (
            "--tmpfs /scratch:size=1m,mode=700",
            "df -m /scratch | tail -1 | awk '{print $2}'; stat -c %a /scratch",
            ["1", "700"],
        ),
        ("--cap-drop all --cap-add chown", "grep CapEff /proc/self/status | cut -f2", ["0000000000000001"]),
        ("--pid=host", "test -d /proc/$PPID && echo seen", ["seen"]),
        ("--umask 0077", "umask", ["0077"]),
        ("--security-opt=no-new-privileges", "grep NoNewPrivs /proc/self/status | cut -f2", ["1"]),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and value.startswith("--") else "",
)
def test_options(podman: Podman, options: str, script: str, shown: list[str]) -> None:
    done = podman.run(f"--rm {options}", "sh", "-c", script)

    assert (done.code, done.lines) == (0, shown), done


@pytest.mark.needs("cgroups")
@pytest.mark.skipif(os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="control groups v2 have no such thing")
def test_systemds_hierarchy(podman: Podman) -> None:
    """--systemd=always mounts it once more, to be written, where the rest of /sys/fs/cgroup is read-only."""
    group = f"systemd/runjail-test-{os.getpid()}"  # the host's
    script = f"cd /sys/fs/cgroup; mkdir {group} && rmdir {group} && echo made; mkdir pids/sub || echo refused"
    done = podman.run("--rm --systemd=always --cgroupns=private", "sh", "-c", script)
    if "not supported with cgroup v1" in done.err:
        pytest.skip("this podman has no such containers on control groups v1")

    assert (done.code, done.lines) == (0, ["made", "refused"]), done


def test_volumes(podman: Podman) -> None:
    """One that can be written, one that cannot, and a single file."""
    data, fixed = podman.directory / "data", podman.directory / "fixed"
    data.mkdir()
    fixed.mkdir()
    (fixed / "word").write_text("kept\n", encoding="ascii")
    volumes = f"-v {data}:/data -v {fixed}:/fixed:ro -v {fixed}/word:/etc/word:ro"
    script = "echo new >/data/made; cat /fixed/word /etc/word; echo bad 2>/dev/null >/fixed/word || echo refused"
    done = podman.run(f"--rm {volumes}", "sh", "-c", script)

    assert (done.code, done.lines) == (0, ["kept", "kept", "refused"]), done
    assert (data / "made").read_text(encoding="ascii") == "new\n"


@pytest.mark.needs("catatonit")
def test_an_init_that_reaps(podman: Podman) -> None:
    """--init puts podman's own init, a file mount, in front of the program."""
    catatonit = shutil.which("catatonit")
    script = "test $$ != 1 && tr '\\0' ' ' </proc/1/cmdline; exit 6"
    done = podman.run(f"--rm --init --init-path={catatonit}", "sh", "-c", script)

    assert done.code == 6, done
    assert "-- sh -c" in done.out


# a container in the background --------------------------------------------------------------------------------------


def test_exec(podman: Podman) -> None:
    podman.detached("web", "sleep", "600")

    assert podman.ok("exec", "web", "echo", "inside").out == "inside\n"
    assert podman.ok("exec", "-i", "web", "cat", stdin="typed\n").out == "typed\n"
    assert podman("exec", "web", "sh", "-c", "exit 7").code == 7
    changed = podman.ok(
        "exec", "--user=1000", "--workdir=/var", "--env=NAME=value", "web", "sh", "-c", "id -u; pwd; echo $NAME"
    )
    assert changed.lines == ["1000", "/var", "value"]
    assert podman("exec", "web", "sh", "-c", "kill -KILL $$").code == 137


@pytest.mark.parametrize("form", ["json", "text"])
def test_exec_of_a_program_that_cannot_run(make_podman: Callable[..., Podman], form: str) -> None:
    podman = make_podman(json=form == "json")
    podman.detached("web", "sleep", "600")
    absent, directory = podman("exec", "web", "nope"), podman("exec", "web", "/etc")

    assert (absent.code, directory.code) == (127, 126), (absent, directory)
    assert 'exec: "nope": executable file not found in $PATH' in absent.err
    assert "is a directory: permission denied" in directory.err


def test_exec_on_a_terminal(podman: Podman) -> None:
    podman.detached("web", "sleep", "600")
    words = ["exec", "-it", "web", "sh", "-c", 'tty; read word; echo "got $word"; exit 4']
    check_terminal([*podman.command, *words], podman.env, 4)


def test_exec_in_the_background(podman: Podman) -> None:
    podman.detached("web", "sleep", "600")
    podman.ok("exec", "-d", "web", "sh", "-c", "echo done >/tmp/mark; sleep 600")

    eventually((podman.rootfs / "tmp" / "mark").exists, "the program in the background ran")


def test_logs(podman: Podman) -> None:
    podman.detached("web", "sh", "-c", "echo out; echo err >&2; sleep 600")
    eventually(lambda: len(podman.ok("logs", "web").out + podman.ok("logs", "web").err) >= 8, "both lines are there")
    logs = podman.ok("logs", "web")

    assert (logs.out, logs.err) == ("out\n", "err\n")


@pytest.mark.parametrize(("on_term", "code"), [("exit 42", 42), (":", 137)], ids=["obeys", "ignores"])
def test_stop(podman: Podman, on_term: str, code: int) -> None:
    """TERM first; who ignores it gets KILL."""
    podman.detached("web", "sh", "-c", f"trap '{on_term}' TERM; echo ready; while :; do sleep 0.1; done")
    eventually(lambda: podman.ok("logs", "web").out == "ready\n", "the trap is set")
    podman.ok("stop", "--time=1", "web")

    state = podman.inspect("web")
    assert (state["Status"], state["ExitCode"]) == ("exited", code)
    # podman deletes our container with every stop, and creates it again from its own files.
    eventually(lambda: podman.containers() == [], "deleted")


def test_kill_and_remove(podman: Podman) -> None:
    podman.detached("web", "sh", "-c", "trap 'echo heard' USR1; echo ready; while :; do sleep 0.1; done")
    eventually(lambda: podman.ok("logs", "web").out == "ready\n", "the trap is set")
    podman.ok("kill", "--signal=USR1", "web")
    eventually(lambda: "heard" in podman.ok("logs", "web").out, "USR1 arrived")

    assert podman("rm", "web").code != 0  # it runs
    podman.ok("kill", "web")
    assert podman.ok("wait", "web").out == "137\n"
    podman.ok("rm", "web")
    assert podman.ok("ps", "-aq").out == ""


def test_remove_by_force(podman: Podman) -> None:
    """Also what a shell has left running in the background."""
    podman.detached("web", "sh", "-c", "sleep 601 & sleep 602 & wait")
    podman.ok("rm", "--force", "--time=0", "web")

    assert podman.ok("ps", "-aq").out == ""


def test_restart_keeps_the_id(podman: Podman) -> None:
    id = podman.detached("web", "sh", "-c", "echo life >>/tmp/lives; sleep 600")
    before = podman.inspect("web")["Pid"]
    podman.ok("restart", "--time=0", "web")
    podman.ok("stop", "--time=0", "web")
    podman.ok("start", "web")

    assert podman.inspect("web")["Pid"] not in (0, before)
    assert podman.containers() == [id]
    eventually(lambda: (podman.rootfs / "tmp" / "lives").read_text(encoding="ascii") == "life\n" * 3, "three lives")


def test_pause(podman: Podman) -> None:
    """A paused container does nothing; exec in it is refused; afterwards it goes on."""
    podman.detached("web", "sh", "-c", "while :; do echo x >>/tmp/count; sleep 0.02; done")
    count = podman.rootfs / "tmp" / "count"
    eventually(count.exists, "it counts")
    podman.ok("pause", "web")
    before = count.stat().st_size

    assert podman.inspect("web")["Status"] == "paused"
    assert podman("exec", "web", "true").code != 0
    assert count.stat().st_size == before
    podman.ok("unpause", "web")
    eventually(lambda: count.stat().st_size > before, "it counts again")
    assert podman.inspect("web")["Status"] == "running"


def test_top(podman: Podman) -> None:
    podman.detached("web", "sh", "-c", "sleep 601 & exec sleep 602")
    eventually(lambda: len(podman.ok("top", "web").lines) == 3, "two processes")
    _, init, other = podman.ok("top", "web", "pid", "args").lines

    assert init.split() == ["1", "sleep", "602"]
    assert other.split()[1:] == ["sleep", "601"]


def test_create_then_start(podman: Podman) -> None:
    """podman creates on its side only; `init` creates ours and leaves it at the gate."""
    podman.ok("create", *podman.words("--name web", "sh", "-c", "echo started; exit 3")[1:])
    podman.ok("init", "web")
    assert podman.inspect("web")["Status"] == "initialized"

    started = podman("start", "--attach", "web")
    assert (started.code, started.out) == (3, "started\n")


def test_state_where_nobody_says(make_podman: Callable[..., Podman]) -> None:
    """Our own default directory serves, as it must: podman's `state` and clean-up calls carry no flags."""
    podman = make_podman(root=False)
    id = podman.detached("web", "sleep", "600")
    default = Path("/run/runjail") / id
    try:
        assert (default / "state.json").exists()
        os.kill(podman.inspect("web")["Pid"], 9)
        podman("kill", "web")  # asks for the state when it fails, which it may or may not, so shortly after
        assert podman.ok("wait", "web").out == "137\n"
        podman.ok("rm", "web")
        assert not default.exists()
    finally:
        with contextlib.suppress(OSError):
            os.rmdir("/run/runjail")  # where it was made for us, it is empty now


def test_version_is_shown(podman: Podman) -> None:
    """`podman info` asks every runtime for its version."""
    info = json.loads(podman.ok("info", "--format=json").out)

    assert info["host"]["ociRuntime"]["name"] == "runjail"
    assert info["host"]["ociRuntime"]["version"].startswith("runjail version ")
