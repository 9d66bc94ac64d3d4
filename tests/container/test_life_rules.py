"""create, start, state, kill, delete: which verb is allowed when, what it says, and what it leaves (runtime-spec)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import CANNOT_RUN, Life, failed, is_alive, tree, until
from tests.support.program import LINUX


def test_a_whole_life(life: Life) -> None:
    """created, running, stopped, gone; verbs that only do something print nothing."""
    created = life.create()
    before = life.runjail.state("c")
    started = life.runjail.ok("start", "c")
    running = life.runjail.state("c")
    killed = life.runjail.ok("kill", "c", "KILL")
    stopped = life.runjail.wait("c")
    deleted = life.runjail.ok("delete", "c")

    assert (before["status"], running["status"], stopped["status"]) == ("created", "running", "stopped")
    assert before["pid"] == running["pid"] > 1
    assert stopped["pid"] == 0
    for result in (created, started, killed, deleted):
        assert (result.stdout, result.stderr) == ("", "")
    life.gone()
    assert not is_alive(running["pid"])


def test_the_state_document(life: Life) -> None:
    """The fields that callers read, and nothing on stderr; it is the same when asked twice."""
    life.bundle.config["annotations"] = {"a.b": "c", "empty": ""}
    life.create()
    first, second = life.runjail.ok("state", "c"), life.runjail.ok("state", "c")
    document = json.loads(first.stdout)

    assert first.stdout == second.stdout
    assert first.stderr == ""
    assert document["ociVersion"] == "1.3.0"
    assert document["id"] == "c"
    assert document["bundle"] == str(life.path)
    assert document["rootfs"] == str(life.bundle.rootfs)
    assert document["annotations"] == {"a.b": "c", "empty": ""}
    assert document["owner"] == "0"
    assert document["created"].endswith("Z")


def test_a_stopped_container_answers_twice_the_same(life: Life) -> None:
    """A kill of a stopped container changes nothing either."""
    life.start("/bin/sh", "-c", "exit 3")
    life.runjail.wait("c")
    first = life.runjail.ok("state", "c").stdout
    failed(life.runjail("kill", "c"), "container not running: c")

    assert life.runjail.ok("state", "c").stdout == first


def test_later_edits_of_the_config_change_nothing(life: Life) -> None:
    """The program is the one that create saw."""
    result = life.create("/bin/echo", "first")
    life.bundle.write("/bin/echo", "second")
    life.runjail.ok("start", "c")
    life.runjail.wait("c")

    assert result.stdout == "first\n"


@pytest.mark.parametrize("verb", ["state", "start", "kill", "delete", "pause", "resume", "ps", "events", "update"])
def test_an_unknown_container(life: Life, verb: str) -> None:
    """Everything but delete --force says so."""
    args = ("--pids-limit", "5") if verb == "update" else ()
    failed(life.runjail(verb, *args, "nobody"), "container does not exist: nobody")


def test_exec_in_an_unknown_container(life: Life) -> None:
    """Exec's own failures are 255."""
    failed(life.runjail("exec", "nobody", "true"), "container does not exist: nobody", 255)


def test_delete_force_of_an_unknown_container_is_silent(life: Life) -> None:
    result = life.runjail("delete", "--force", "nobody")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_create_of_a_taken_id(life: Life) -> None:
    """The container that has the id is not touched."""
    life.create()
    before = life.runjail.state("c")
    failed(life.runjail("create", "-b", str(life.path), "c"), "container with given ID already exists: c")

    assert life.runjail.state("c") == before


def test_a_second_start_is_refused(life: Life) -> None:
    life.start()
    failed(life.runjail("start", "c"), "cannot start an already running container")

    assert life.runjail.state("c")["status"] == "running"


def test_start_of_a_stopped_container_is_refused(life: Life) -> None:
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")

    failed(life.runjail("start", "c"), "cannot start a container that has stopped")


def test_start_after_init_was_killed_is_refused(life: Life) -> None:
    """A dead init is not "started" (one peer says it is, another waits for ever)."""
    life.create()
    os.kill(life.runjail.state("c")["pid"], 9)
    life.runjail.wait("c")

    failed(life.runjail("start", "c"), "cannot start a container that has stopped")


def test_delete_of_a_created_container(life: Life) -> None:
    """It is killed and deleted."""
    life.create()
    pid = life.runjail.state("c")["pid"]
    life.runjail.ok("delete", "c")

    assert not is_alive(pid)
    life.gone()


def test_delete_after_kill(life: Life) -> None:
    """As in a script: `kill` sends a signal, and its receiver may take a moment to die."""
    for _ in range(20):
        life.start()
        life.runjail.ok("kill", "c", "KILL")
        life.runjail.ok("delete", "c")
    life.gone()


def test_delete_of_a_running_container_is_refused(life: Life) -> None:
    life.start()
    refused = life.runjail("delete", "c")
    failed(refused, "cannot delete container c that is not stopped: running")
    assert refused.stderr.splitlines()[1] == "hint: runjail delete --force kills it first"
    assert life.runjail.state("c")["status"] == "running"

    life.runjail.ok("delete", "-f", "c")
    life.gone()


@pytest.mark.parametrize("spelling", ["9", "KILL", "SIGKILL", "sigkill", "Kill"])
def test_spellings_of_a_signal(life: Life, spelling: str) -> None:
    life.start()
    life.runjail.ok("kill", "c", spelling)

    life.runjail.wait("c")


def test_the_usual_signal_is_term(life: Life) -> None:
    """The program decides what to do with it."""
    result = life.start("/bin/sh", "-c", "trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in result.stdout)
    life.runjail.ok("kill", "c")
    life.runjail.wait("c")

    assert result.stdout == "ready\ngot\n"


@pytest.mark.parametrize("signal", ["FOO", "999", "-1", "", "SIG", "SIGSIGKILL", "1 2", "RTMIN+\u00b2"])
def test_a_signal_that_does_not_exist(life: Life, signal: str) -> None:
    """It is refused and the container lives on."""
    life.start()
    result = life.runjail("kill", "c", "--", signal)

    assert result.returncode == 1
    assert "unknown signal" in result.stderr
    assert life.runjail.state("c")["status"] == "running"


def test_signal_0_asks_whether_init_lives(life: Life) -> None:
    life.start()
    life.runjail.ok("kill", "c", "0")
    life.runjail.ok("kill", "c", "KILL")
    life.runjail.wait("c")

    failed(life.runjail("kill", "c", "0"), "container not running: c")


def test_the_processes_of_a_stopped_container(life: Life) -> None:
    """ps lists who outlives the first process, as a jail's may, and nobody is no error."""
    if LINUX:  # there only a container without a pid namespace of its own
        life.bundle.config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "uts"}]
    life.start("/bin/sh", "-c", "sleep 600 &")
    life.runjail.wait("c")
    (pid,) = json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout)
    assert f" {pid} " in life.runjail.ok("ps", "c").stdout
    life.runjail.ok("kill", "--all", "c", "KILL")
    until(lambda: not is_alive(pid))

    assert json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout) == []
    assert len(life.runjail.ok("ps", "c").stdout.splitlines()) == 1


def test_kill_all_reaches_everybody(life: Life) -> None:
    """Before or after the words, and it is success when nobody is there any more."""
    life.start("/bin/sh", "-c", "sleep 600 & sleep 600 & wait")
    pids = until(
        lambda: [pids for pids in [json.loads(life.runjail.ok("ps", "--format", "json", "c").stdout)] if len(pids) == 3]
    )[0]
    life.runjail.ok("kill", "--all", "c", "KILL")
    until(lambda: not any(is_alive(pid) for pid in pids))
    life.runjail.wait("c")

    life.runjail.ok("kill", "c", "KILL", "--all")
    life.runjail.ok("kill", "-a", "c")


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_kill_of_a_created_container(life: Life, signal: str) -> None:
    """A parked init dies of a signal, even as pid 1 of its own world."""
    life.create()
    life.runjail.ok("kill", "c", signal)
    life.runjail.wait("c")

    life.runjail.ok("delete", "c")


def test_an_id_can_be_used_again_at_once(life: Life) -> None:
    for _ in range(3):
        life.start()
        life.runjail.ok("delete", "--force", "c")
    life.create()


def test_paths_are_the_callers(life: Life, tmp_path: Path) -> None:
    """--bundle and --pid-file are relative to the directory the caller is in."""
    life.bundle.write()
    life.runjail.ok("create", "--bundle", life.path.name, "--pid-file", "pid", "c", cwd=tmp_path)
    pid = (tmp_path / "pid").read_text(encoding="ascii")

    assert pid == str(life.runjail.state("c")["pid"])
    assert life.runjail.state("c")["bundle"] == str(life.path)
    assert [name.name for name in tmp_path.iterdir() if name.name.startswith("pid")] == ["pid"]


def test_the_bundle_is_the_current_directory_by_default(life: Life) -> None:
    life.bundle.write()
    life.runjail.ok("create", "c", cwd=life.path)


def test_the_pid_file_is_replaced_whole(life: Life, tmp_path: Path) -> None:
    """The old file is not written into: whoever has it open or linked keeps what it was."""
    old, new = tmp_path / "old", tmp_path / "pid"
    old.write_text("123456789")
    os.link(old, new)
    life.create(options=("--pid-file", str(new)))

    assert old.read_text() == "123456789"
    assert new.read_text() == str(life.runjail.state("c")["pid"])
    assert new.stat().st_mode & 0o777 == 0o644


def test_a_pid_file_that_cannot_be_written(life: Life, tmp_path: Path) -> None:
    """Create fails, says so with the caller's path, and takes everything back."""
    path = tmp_path / "missing" / "pid"
    before = tree(life.bundle.rootfs)
    failed(
        life.runjail("create", "-b", life.bundle.write(), "--pid-file", str(path), "c"),
        f"writing pid file {path}: does not exist",
    )

    life.gone()
    assert tree(life.bundle.rootfs) == before


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"XDG_RUNTIME_DIR": ""},
    {"XDG_RUNTIME_DIR": "/nonexistent"},
    {"HOME": "", "PATH": ""},
    {"LISTEN_FDS": "3", "LISTEN_PID": "1"},
    {"PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent", "PYTHONSTARTUP": "/nonexistent"},
    {"LC_ALL": "de_DE.UTF-8", "LANG": "nonsense"},
]


@pytest.mark.parametrize("env", ENVIRONMENTS, ids=str)
def test_environments_of_callers(life: Life, env: dict[str, str]) -> None:
    """No variable is needed, and none of the caller's reaches the container."""
    result = life.runjail(
        "run", "-b", life.bundle.write("/bin/sh", "-c", "echo ${XDG_RUNTIME_DIR-unset}"), "c", env=env
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "unset\n", "")


def test_the_state_directory_is_private(life: Life) -> None:
    """Nobody but root may look at, or wait at the gate of, a container."""
    life.create()

    assert life.runjail.root.stat().st_mode & 0o777 == 0o700
    assert (life.runjail.root / "c").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_callers_that_closed_standard_descriptors(life: Life, closed: tuple[int, ...]) -> None:
    """Files of ours must not become the container's output, nor take our error messages."""
    shell = " ".join(f"{descriptor}{'<' if descriptor == 0 else '>'}&-" for descriptor in closed)
    script = f'"$@" {shell}; echo $?'
    life.bundle.write("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    command = ["/bin/sh", "-c", script, "sh", life.runjail.program, "--root", str(life.runjail.root)]
    ran = subprocess.run([*command, "run", "-b", str(life.path), "c"], capture_output=True, text=True, check=False)
    said = subprocess.run([*command, "state", "nobody"], capture_output=True, text=True, check=False)

    assert ran.stdout.splitlines()[-1] == "3", ran
    assert said.stdout == "1\n"
    assert said.stderr == ("" if 2 in closed else "runjail: container does not exist: nobody\n")


def test_failure_leaves_nothing(life: Life) -> None:
    """Whatever goes wrong in create: no state, no mount point, no process."""
    before = tree(life.bundle.rootfs)
    missing = {"destination": "/made/by/us", "type": "nullfs", "source": "/nonexistent/source", "options": ["bind"]}
    good: list[Any] = life.bundle.config["mounts"]
    life.bundle.config["mounts"] = [*good, {"destination": "/also/made", "type": "tmpfs", "source": "tmpfs"}, missing]
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert tree(life.bundle.rootfs) == before
    life.gone()


@pytest.mark.parametrize(("program", "text"), CANNOT_RUN)
def test_programs_that_cannot_run_fail_create(life: Life, program: str, text: str) -> None:
    """podman makes exit codes 127 and 126 of these texts."""
    failed(life.runjail("create", "-b", life.bundle.write(program), "c"), text)

    life.gone()


@pytest.mark.parametrize("verb", ["start", "run"])
def test_a_missing_interpreter_fails_start(life: Life, verb: str) -> None:
    """Only execve knows; the error reaches the caller, at once."""
    script = life.bundle.rootfs / "bin" / "script"
    script.write_text("#!/nonexistent\n")
    script.chmod(0o755)
    text = 'exec: "/bin/script": no such file or directory'
    if verb == "run":
        failed(life.runjail("run", "-b", life.bundle.write("/bin/script"), "c"), text)
        life.gone()
        return
    life.create("/bin/script")
    failed(life.runjail("start", "c"), text)

    assert life.runjail.wait("c")["pid"] == 0
    life.runjail.ok("delete", "c")


def test_a_script_without_a_format_is_the_shells(life: Life) -> None:
    """As execvp(3) does."""
    script = life.bundle.rootfs / "bin" / "script"
    script.write_text("echo plain $1\n")
    script.chmod(0o755)
    result = life.runjail.ok("run", "-b", life.bundle.write("script", "word"), "c")

    assert result.stdout == "plain word\n"
