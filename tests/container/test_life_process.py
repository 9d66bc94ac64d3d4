"""What config.json says about the process, seen from inside it; and what of the caller must not be seen there."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.container import program
from runjail.spec.model import Process
from tests.support.container.harness import Life, until


def test_output_goes_to_the_callers_descriptors(life: Life) -> None:
    """Create's stdout and stderr are the container's, byte for byte and apart."""
    result = life.start("/bin/sh", "-c", "echo to out; echo to err >&2")
    life.runjail.wait("c")

    assert (result.stdout, result.stderr) == ("to out\n", "to err\n")


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 255", 255)])
def test_exit_codes_pass_through(life: Life, script: str, status: int) -> None:
    """run and exec end as the program did; 128+n for a signal."""
    assert life.run(f"sh -c '{script}'; exit $?").returncode == status
    life.sleep()
    assert life.runjail("exec", "c", "/bin/sh", "-c", script).returncode == status


def test_exit_code_of_a_killed_program(life: Life) -> None:
    """The foreground run says 128+9 when its program is killed from outside."""
    process = subprocess.Popen(
        [life.runjail.program, "--root", str(life.runjail.root), "run", "-b", life.bundle.write(), "c"],
        stdin=subprocess.DEVNULL,
    )
    until(lambda: life.runjail("state", "c").stdout.count('"running"'))
    life.runjail.ok("kill", "c", "KILL")

    assert process.wait(120) == 137
    life.gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_forwarded(life: Life, number: int) -> None:
    """What run in the foreground gets, the program gets."""
    names = {signal.SIGTERM: "TERM", signal.SIGHUP: "HUP", signal.SIGUSR1: "USR1", signal.SIGINT: "INT"}
    script = f"trap 'echo got; exit 5' {names[signal.Signals(number)]}; echo ready; while :; do sleep 0.05; done"
    command = [life.runjail.program, "--root", str(life.runjail.root), "run", "-b", str(life.path), "c"]
    life.bundle.write("/bin/sh", "-c", script)
    with open(life.path / "out", "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out)
    until(lambda: (life.path / "out").read_text() == "ready\n")
    process.send_signal(number)

    assert process.wait(120) == 5
    assert (life.path / "out").read_text() == "ready\ngot\n"
    life.gone()


def test_input_is_piped_through(life: Life) -> None:
    """Both run and exec read the caller's standard input to its end."""
    text = "line\n" * 5000
    ran = life.runjail.ok("run", "-b", life.bundle.write("/bin/cat"), "c", stdin=text)
    life.sleep()
    executed = life.runjail.ok("exec", "c", "/bin/cat", stdin=text)

    assert ran.stdout == text
    assert executed.stdout == text


def test_user_and_groups(life: Life) -> None:
    """Exactly the groups that are listed: none of root's stay."""
    user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}

    assert life.says("id -u; id -g; id -G", user=user).split("\n")[:2] == ["1000", "1001"]
    # From FreeBSD 15 on the group itself is none of those that id lists.
    assert {"1001", *life.says("id -G", user=user).split()} == {"1001", "5", "6"}
    assert {"1001", *life.says("id -G", user={"uid": 1000, "gid": 1001}).split()} == {"1001"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0])
def test_umask(life: Life, umask: int) -> None:
    """process.user.umask, whatever the caller's is."""
    assert int(life.says("umask", user={"uid": 0, "gid": 0, "umask": umask}), 8) == umask


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_callers_umask_is_kept_where_none_is_asked_for(life: Life, umask: int) -> None:
    result = life.runjail.ok(
        "run", "-b", life.bundle.write("/bin/sh", "-c", "umask"), "c", preexec_fn=lambda: os.umask(umask)
    )

    assert int(result.stdout, 8) == umask


def test_a_callers_umask_does_not_spoil_mount_points(life: Life) -> None:
    """Directories that we make in the root are for everybody to enter."""
    life.bundle.config["mounts"].append({"destination": "/made/deep", "type": "tmpfs", "source": "tmpfs"})
    bundle = life.bundle.write("/bin/ls", "/made")
    life.runjail.ok("create", "-b", bundle, "c", preexec_fn=lambda: os.umask(0o077))

    assert (life.bundle.rootfs / "made").stat().st_mode & 0o777 == 0o755
    life.runjail.ok("delete", "c")
    assert not (life.bundle.rootfs / "made").exists()


def test_the_environment_is_exactly_the_configs(life: Life) -> None:
    """And HOME, which every shell wants: what it is then says the test below."""
    env = ["PATH=/bin", "A=b=c", "EMPTY=", "UTF=ü"]
    found = life.says("env", env=env).splitlines()

    ours = {line for line in found if not line.startswith(("PWD=", "SHLVL=", "OLDPWD=", "_="))}
    assert [line[:6] for line in ours - set(env)] == ["HOME=/"]
    assert ours > set(env)
    assert "HOME=/x" in life.says("env", env=["PATH=/bin", "HOME=/x"]).splitlines()
    assert "HOME=" not in life.says("env", env=["PATH=/bin", "HOME="]).splitlines()


def test_home_is_what_the_containers_own_users_say(life: Life) -> None:
    """Also for exec; the first entry counts, and nonsense does not."""
    users = life.bundle.rootfs / "etc" / "passwd"
    users.write_text("nonsense\nann:*:7:7:Ann:/home/ann:/bin/sh\nbob:*:7:8::/bob:\nnone:*:8:8:::\n")
    life.sleep()

    for uid, home in (("7", "/home/ann"), ("8", "/"), ("9", "/")):
        assert life.runjail.ok("exec", "-u", uid, "c", "/bin/sh", "-c", "echo $HOME").stdout == f"{home}\n"


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_a_file_of_users_that_is_none(life: Life, kind: str) -> None:
    """Nobody waits for it, and nothing of the host is read."""
    users = life.bundle.rootfs / "etc" / "passwd"
    users.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(users)
    elif kind == "directory":
        users.mkdir()
    else:
        (life.path / "outside").write_text("root:*:0:0::/outside:/bin/sh\n")
        users.symlink_to(life.path / "outside")

    assert life.says("echo $HOME") == "/\n"


def test_the_program_is_found_by_the_containers_path(life: Life) -> None:
    """PATH of process.env, not of the caller; a later entry wins, as getenv's users see it."""
    (life.bundle.rootfs / "own").mkdir()
    (life.bundle.rootfs / "own" / "special").symlink_to("/bin/echo")
    echo = life.bundle.rootfs / "own" / "special"
    echo.unlink()
    echo.write_text("#!/bin/sh\necho special $*\n")
    echo.chmod(0o755)
    bundle = life.bundle.write("special", "one", env=["PATH=/nonexistent:/own"])

    assert life.runjail.ok("run", "-b", bundle, "c").stdout == "special one\n"
    assert life.runjail("run", "-b", life.bundle.write("special", env=["PATH=/bin"]), "c").returncode == 1
    assert life.runjail.ok("run", "-b", life.bundle.write("echo", "no PATH", env=[]), "c").stdout == "no PATH\n"


def test_a_missing_working_directory_is_made(life: Life) -> None:
    """It is made inside the container: a link in the image leads nowhere else."""
    assert life.says("pwd", cwd="/new/deep") == "/new/deep\n"
    assert (life.bundle.rootfs / "new" / "deep").is_dir()
    (life.bundle.rootfs / "link").symlink_to(life.path / "outside")
    life.run("pwd", cwd="/link/dir")

    assert not (life.path / "outside").exists()


def test_the_working_directory_of_a_read_only_root_is_made(life: Life) -> None:
    """An image need not have it, whatever the program may write."""
    life.bundle.config["root"]["readonly"] = True
    said = life.says("pwd; (echo x > file) 2>/dev/null || echo read-only", cwd="/new/deep")

    assert said == "/new/deep\nread-only\n"


def test_a_working_directory_that_cannot_be_entered(life: Life) -> None:
    """An error that names it; nothing is left."""
    (life.bundle.rootfs / "file").touch()
    result = life.runjail("create", "-b", life.bundle.write(cwd="/file"), "c")

    assert result.returncode == 1
    assert 'chdir to cwd ("/file") set in config.json failed' in result.stderr
    life.gone()


def test_a_working_directory_that_the_user_may_not_enter(life: Life) -> None:
    """An image's WORKDIR may be root's or another user's: we stand in it before we become who has no rights to it."""
    (life.bundle.rootfs / "private").mkdir(mode=0o700)
    user = {"uid": 42, "gid": 42}
    assert life.says("pwd", user=user, cwd="/private") == "/private\n"
    life.start("/bin/sleep", "600", user=user, cwd="/private")

    assert life.runjail.ok("exec", "c", "/bin/sh", "-c", "pwd").stdout == "/private\n"


def test_a_working_directory_that_only_the_user_may_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As below a FUSE mount, where root is a stranger."""
    done: list[str] = []

    def enter(path: str) -> None:
        done.append(path)
        if "became" not in done:
            raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "chdir", enter)
    program.take_on(Process(("x",), cwd="/home"), lambda _process: done.append("became"))

    assert done == ["/home", "became", "/home"]


def test_leaked_descriptors_do_not_reach_the_container(life: Life) -> None:
    """Callers leak descriptors 10 and 251 and directories; the program sees 0, 1 and 2."""
    script = 'for i in 3 4 5 6 7 8 9 10 11 12 250 251 252; do (eval "true <&$i") 2>/dev/null && echo $i; done; true'
    leaked = [os.open(path, os.O_RDONLY) for path in ("/", "/etc", "/dev/null")]
    try:

        def leak() -> None:
            for descriptor, number in zip(leaked, (10, 251, 5), strict=True):
                os.dup2(descriptor, number)

        bundle = life.bundle.write("/bin/sh", "-c", script)
        result = life.runjail.ok("run", "-b", bundle, "c", preexec_fn=leak, close_fds=False)
        life.sleep()
        executed = life.runjail.ok("exec", "c", "/bin/sh", "-c", script, preexec_fn=leak, close_fds=False)
    finally:
        for descriptor in leaked:
            os.close(descriptor)

    assert (result.stdout, result.stderr) == ("", "")
    assert (executed.stdout, executed.stderr) == ("", "")


def preserving(life: Life, count: int) -> tuple[Callable[[], None], list[Path]]:
    """Return a function for the child that opens files at 3, 4, ..., and the files."""
    files = [life.path / f"file{number}" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"content {number}\n")

    def open_them() -> None:
        os.closerange(3, 64)
        for file in files:
            os.set_inheritable(os.open(file, os.O_RDONLY), True)

    return open_them, files


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_preserved_descriptors(life: Life, verb: str) -> None:
    """--preserve-fds passes as many as asked for, from 3, and no more."""
    opening, _files = preserving(life, 3)
    script = "cat <&3; cat <&4; (true <&5) 2>/dev/null || echo closed"
    if verb == "exec":
        life.start()
        args = ("exec", "--preserve-fds", "2", "c", "/bin/sh", "-c", script)
    else:
        args = ("run", "--preserve-fds=2", "-b", life.bundle.write("/bin/sh", "-c", script), "c")
    result = life.runjail.ok(*args, preexec_fn=opening, close_fds=False)

    assert result.stdout == "content 0\ncontent 1\nclosed\n"


def test_socket_activation(life: Life) -> None:
    """systemd's descriptors come first, and the program is told that they are its own."""
    opening, _files = preserving(life, 2)
    script = 'cat <&3; cat <&4; echo $LISTEN_FDS; test "$LISTEN_PID" = $$ && echo mine'
    bundle = life.bundle.write("/bin/sh", "-c", script)
    result = life.runjail.ok(
        "run", "--preserve-fds=1", "-b", bundle, "c", env={"LISTEN_FDS": "1"}, preexec_fn=opening, close_fds=False
    )

    assert result.stdout == "content 0\ncontent 1\n1\nmine\n"


def test_descriptors_that_are_not_there(life: Life) -> None:
    """An error instead of a program that misses something."""
    result = life.runjail("create", "--preserve-fds", "2", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert result.stderr == "runjail: --preserve-fds: descriptor 3 is not open\n"


IGNORING = (signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)


def ignore() -> None:
    """Ignore signals and block one, as careless callers do."""
    for number in IGNORING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})


@pytest.mark.parametrize("number", [*IGNORING, signal.SIGUSR2])
def test_ignored_signals_are_not_inherited(life: Life, number: signal.Signals) -> None:
    """The program starts with default actions and nothing blocked: each of these ends it, but for CHLD."""
    script = f"(kill -{number.name.removeprefix('SIG')} $(exec sh -c 'echo $PPID'); sleep 0.2; exit 77); echo $?"
    result = life.runjail.ok("run", "-b", life.bundle.write("/bin/sh", "-c", script), "c", preexec_fn=ignore)
    ends = 77 if number == signal.SIGCHLD else 128 + number

    assert result.stdout == f"{ends}\n"


def test_the_whole_life_with_signals_ignored(life: Life) -> None:
    """Also our own children are waited for although the caller ignores SIGCHLD."""
    life.bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null"]}] for kind in ("createRuntime", "poststart")
    }
    bundle = life.bundle.write()
    life.runjail.ok("create", "-b", bundle, "c", preexec_fn=ignore)
    life.runjail.ok("start", "c", preexec_fn=ignore)
    result = life.runjail("exec", "c", "/bin/sh", "-c", "exit 9", preexec_fn=ignore)

    assert result.returncode == 9


def test_the_program_leads_a_session(life: Life) -> None:
    """Signals of the caller's terminal do not reach it, and job control works inside."""
    life.start()
    pid = life.runjail.state("c")["pid"]

    assert os.getsid(pid) == pid


def test_args_are_taken_as_they_are(life: Life) -> None:
    """Empty ones, spaces, newlines, quotes, UTF-8: nothing is split or joined."""
    words = ["", " a  b ", "new\nline", "'\"$HOME`", "ü€"]
    bundle = life.bundle.write("/bin/sh", "-c", 'for i in "$@"; do echo "[$i]"; done', "sh", *words)

    assert life.runjail.ok("run", "-b", bundle, "c").stdout == "".join(f"[{word}]\n" for word in words)
