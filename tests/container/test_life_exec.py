"""exec: one more process in a running container."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import CANNOT_RUN, Life, is_alive, until


def process_file(path: Path, *args: str, **fields: Any) -> str:
    """Write a process document."""
    document = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **fields}
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def test_a_command(life: Life) -> None:
    """Output and exit code pass through; options after the id belong to the command."""
    life.sleep()
    result = life.runjail("exec", "c", "/bin/sh", "-c", "echo $1 $2; exit 4", "sh", "-d", "--pid-file")

    assert (result.returncode, result.stdout, result.stderr) == (4, "-d --pid-file\n", "")


def test_it_has_the_configs_environment_and_user(life: Life) -> None:
    """What is not asked for is as config.json has it."""
    life.start("/bin/sleep", "600", env=["PATH=/bin", "A=1"], user={"uid": 5, "gid": 6}, cwd="/tmp")
    script = "echo $A $B; id -u; id -g; pwd"
    usual = life.runjail.ok("exec", "c", "/bin/sh", "-c", script)
    asked = life.runjail.ok(
        "exec", "--env", "B=2", "-e", "A=3", "-u", "7:8", "--cwd", "/etc", "c", "/bin/sh", "-c", script
    )

    assert usual.stdout == "1\n5\n6\n/tmp\n"
    assert asked.stdout == "3 2\n7\n8\n/etc\n"


def test_additional_groups(life: Life) -> None:
    life.sleep()
    result = life.runjail.ok("exec", "-g", "5", "--additional-gids", "6", "-u", "1", "c", "/bin/sh", "-c", "id -G")

    assert sorted({*result.stdout.split(), "0"}) == ["0", "5", "6"], "FreeBSD 15 does not list the group itself"


def test_a_process_document(life: Life, tmp_path: Path) -> None:
    """--process, relative to the caller's directory; it is read before exec returns, since callers delete it."""
    life.sleep()
    process_file(tmp_path / "p.json", "/bin/sh", "-c", "sleep 0.2; echo $A", env=["PATH=/bin", "A=b"])
    result = life.runjail.ok("exec", "--process", "p.json", "--detach", "--pid-file", "pid", "c", cwd=tmp_path)
    (tmp_path / "p.json").unlink()
    until(lambda: result.stdout == "b\n")

    assert (tmp_path / "pid").read_text().isdigit()


def test_detached(life: Life, tmp_path: Path) -> None:
    """The pid file is there before exec ends, names a live process, and is no child of a runtime that stays."""
    life.sleep()
    life.runjail.ok("exec", "-d", "--pid-file", str(tmp_path / "pid"), "c", "/bin/sleep", "600")
    pid = int((tmp_path / "pid").read_text())

    assert is_alive(pid)
    assert sorted(json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout)) == sorted(
        [pid, life.runjail.state("c")["pid"]]
    )
    life.runjail.ok("kill", "--pid", str(pid), "c", "KILL")
    until(lambda: not is_alive(pid))
    assert life.runjail.state("c")["status"] == "running"


@pytest.mark.parametrize(
    ("program", "text"), [*CANNOT_RUN, ("/bin/script", 'exec: "/bin/script": no such file or directory')]
)
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=str)
def test_a_program_that_cannot_run(
    life: Life, tmp_path: Path, program: str, text: str, detach: tuple[str, ...]
) -> None:
    """255, the text, no output, and no pid file: also not an old one, which conmon would take for success."""
    (life.bundle.rootfs / "bin" / "script").write_text("#!/nonexistent\n")
    (life.bundle.rootfs / "bin" / "script").chmod(0o755)
    (tmp_path / "pid").write_text("1")
    life.sleep()
    result = life.runjail("exec", *detach, "--pid-file", str(tmp_path / "pid"), "c", program)

    assert (result.returncode, result.stdout, result.stderr) == (255, "", f"runjail: {text}\n")
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cwd": "/nonexistent"}, 'chdir to cwd ("/nonexistent") set in config.json failed: no such file or directory'),
        ({"rlimits": [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]}, "RLIMIT_NONSENSE"),
        ({"args": []}, "args"),
        ({"cwd": "relative"}, "cwd"),
    ],
    ids=str,
)
def test_a_process_that_cannot_be(life: Life, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    life.sleep()
    result = life.runjail("exec", "--process", process_file(tmp_path / "p.json", "/bin/true", **fields), "c")

    assert result.returncode == 255
    assert said in result.stderr
    assert json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout) == [life.runjail.state("c")["pid"]]


def test_a_process_from_a_pipe_of_the_callers(life: Life) -> None:
    """A shell's `--process <(command)`: the descriptor is read, and does not reach the program."""
    reading, writing = os.pipe()
    name = f"/dev/fd/{reading}"
    if not os.path.exists(name):
        pytest.skip("needs fdescfs on /dev/fd")
    life.sleep()
    script = f"echo said; (eval 'true <&{reading}') 2>/dev/null && echo leaked; true"
    process = {"args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    os.write(writing, json.dumps(process).encode())
    os.close(writing)
    result = life.runjail.ok("exec", "-p", name, "c", pass_fds=[reading])
    os.close(reading)

    assert result.stdout == "said\n"


@pytest.mark.parametrize(
    "args",
    [
        ("c",),
        ("--process", "/nonexistent", "c"),
        ("--process", "/etc/passwd", "c", "true"),
        ("-u", "root", "c", "true"),
        ("-u", "4294967295", "c", "true"),
        ("-u", "-1", "c", "true"),
        ("-g", "x", "c", "true"),
        ("--preserve-fds", "x", "c", "true"),
        ("--preserve-fds", "9" * 5000, "c", "true"),
        ("--console-socket", "/nonexistent", "c", "true"),
        ("-d", "-t", "c", "true"),
        ("--nonsense", "c", "true"),
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_wrong_command_lines(life: Life, args: tuple[str, ...]) -> None:
    """255 and one line; nothing starts."""
    life.sleep()
    result = life.runjail("exec", *args)

    assert result.returncode == 255
    assert result.stderr.startswith("runjail: ")
    assert "internal error" not in result.stderr
    assert len(json.loads(life.runjail.ok("ps", "-f", "json", "c").stdout)) == 1


def test_exec_in_a_created_container(life: Life) -> None:
    """It works: hooks and people prepare things before start."""
    life.create("/bin/sleep", "600")

    assert life.runjail.ok("exec", "c", "/bin/echo", "early").stdout == "early\n"
    assert life.runjail.state("c")["status"] == "created"


def test_exec_in_a_stopped_container(life: Life) -> None:
    life.start("/bin/sh", "-c", "exit 0")
    life.runjail.wait("c")
    result = life.runjail("exec", "c", "/bin/true")

    assert (result.returncode, result.stderr) == (255, "runjail: cannot exec in a stopped container\n")


def test_ends_with_its_container(life: Life) -> None:
    """A detached exec dies with delete --force."""
    life.sleep()
    life.runjail.ok("exec", "-d", "--pid-file", str(life.path / "pid"), "c", "/bin/sleep", "600")
    pid = int((life.path / "pid").read_text())
    life.runjail.ok("delete", "-f", "c")

    assert not is_alive(pid)


def test_a_detached_exec_holds_only_its_streams(life: Life) -> None:
    """Its session is its own, and the caller's descriptors above 2 are closed."""
    life.sleep()
    life.runjail.ok("exec", "-d", "--pid-file", str(life.path / "pid"), "c", "/bin/sleep", "600")
    pid = int((life.path / "pid").read_text())

    assert os.getsid(pid) == pid


def test_many_at_once(life: Life) -> None:
    """Fifteen processes enter one container together and leave with their own codes."""
    life.sleep()
    command = [life.runjail.program, "--root", str(life.runjail.root), "exec", "c", "/bin/sh", "-c"]
    processes = [
        subprocess.Popen([*command, f"echo {code}; exit {code}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for code in range(15)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == list(range(15))
    assert said == [b"%d\n" % code for code in range(15)]


@pytest.mark.linux
@pytest.mark.needs("cgroups")
def test_groups_below_the_containers(life: Life) -> None:
    """As runc's --cgroup, with its refusals."""
    life.sleep()
    group = life.bundle.config["linux"]["cgroupsPath"].strip("/")
    v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    below = Path("/sys/fs/cgroup") / ("" if v2 else "pids") / group / "below"
    below.mkdir()

    def found(*words: str) -> list[str]:
        lines = life.runjail.ok("exec", *words, "c", "/bin/cat", "/proc/self/cgroup").stdout.splitlines()
        return [line.split(":")[1] for line in lines if line.endswith("/below")]

    assert found() == found("--cgroup", "/") == []
    assert found("--cgroup", "x/../below" if v2 else "pids:x/../below") == ["" if v2 else "pids"]
    for word, said in (
        ("..", "--cgroup: .. is not a sub cgroup path"),
        ("a/../..", "--cgroup: a/../.. is not a sub cgroup path"),
        ("whaaat:/", "--cgroup: unknown controller whaaat"),
        ("a:b:c", "invalid --cgroup argument: a:b:c"),
    ):
        result = life.runjail("exec", "--cgroup", word, "c", "/bin/true")
        assert (result.returncode, result.stderr) == (255, f"runjail: {said}\n")
    result = life.runjail("exec", "--cgroup", "absent", "c", "/bin/true")
    assert result.returncode == 255
    assert "/absent: does not exist" in result.stderr
    result = life.runjail("exec", "--cgroup", "a", "--cgroup", "b", "c", "/bin/true")
    assert result.stderr == "runjail: invalid --cgroup argument: a (missing <controller>: prefix)\n"
    below.rmdir()


@pytest.mark.linux
@pytest.mark.parametrize(("option", "what"), [("--apparmor", "apparmor"), ("--process-label", "selinux")])
def test_labels_are_not_taken_for_nothing(life: Life, option: str, what: str) -> None:
    """A kernel without them refuses, as it does what config.json says."""
    if Path("/sys/module/apparmor/parameters/enabled").exists() or Path("/sys/fs/selinux").is_dir():
        pytest.skip("this kernel has labels")
    life.sleep()

    result = life.runjail("exec", option, "ours", "c", "/bin/true")

    assert result.returncode == 255
    assert what in result.stderr.lower(), result
