"""Starting programs: what reaches them, what comes back, and what never hangs."""

import fcntl
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import HostError
from runjail.host import programs
from tests.support.leaks import children

SH = "/bin/sh"


def sh(script: str, **options: object) -> programs.Result:
    return programs.run([SH, "-c", script], **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_descriptor_stays() -> Iterator[None]:
    """Every test here must leave as many descriptors open as it found."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def open_descriptors() -> list[int]:
    found = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def test_output_and_exit_code_come_back() -> None:
    result = sh("echo out; echo err >&2; exit 7")

    assert result == programs.Result(7, b"out\n", b"err\n", False)


def test_output_is_not_lost_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends between two looks, and we are not scheduled again before its grace is over."""
    clock = iter(range(1000))

    class Poll:
        def register(self, *_arguments: int) -> None:
            pass

        def unregister(self, _descriptor: int) -> None:
            pass

        def poll(self, _timeout: float) -> list[tuple[int, int]]:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            return []

    monkeypatch.setattr(programs.select, "poll", Poll)
    monkeypatch.setattr(programs.time, "monotonic", lambda: float(next(clock)))

    assert sh("echo out; echo err >&2; exit 7") == programs.Result(7, b"out\n", b"err\n", False)


def test_death_by_signal_is_128_and_the_signal() -> None:
    assert sh("kill -TERM $$").status == 128 + 15


def test_the_environment_is_exactly_the_given_one() -> None:
    """Nothing of ours leaks: podman calls us with next to nothing and a shell with everything."""
    result = programs.run(["/usr/bin/env"], env={"A": "1"})

    assert result.stdout == b"A=1\n"


def test_the_default_environment_is_minimal() -> None:
    lines = programs.run(["/usr/bin/env"]).stdout.split()

    assert sorted(lines) == [b"LC_ALL=C", b"PATH=/sbin:/bin:/usr/sbin:/usr/bin"]


def test_path_may_differ_from_argv0() -> None:
    """Hooks choose their own argv[0]."""
    result = programs.run(["own-name", "-c", "echo $0"], path=SH)

    assert result.stdout == b"own-name\n"


@pytest.mark.parametrize(("path", "error"), [("/nonexistent", FileNotFoundError), ("/etc/passwd", PermissionError)])
def test_a_program_that_cannot_start_is_an_os_error(path: str, error: type[OSError]) -> None:
    with pytest.raises(error):
        programs.run([path])


def test_big_input_and_big_output_do_not_block_each_other() -> None:
    """Both are larger than a pipe holds, so writing first and reading later would hang for ever."""
    data = os.urandom(1 << 20)

    result = programs.run(["/bin/cat"], input=data, limit=1 << 20)

    assert result.stdout == data


def test_output_beyond_the_limit_is_read_and_dropped() -> None:
    result = programs.run(["/bin/cat"], input=b"x" * (1 << 20), limit=100)

    assert (result.status, result.stdout) == (0, b"x" * 100)


def test_input_nobody_reads_is_no_error() -> None:
    assert sh("exec <&-; sleep 0.1; exit 3", input=b"x" * (1 << 20)).status == 3


def test_the_deadline_kills_the_whole_group() -> None:
    """A shell that is killed alone would leave its child running."""
    started = time.monotonic()

    result = sh("echo before; sleep 600 & echo $!; wait", timeout=0.3)

    said = result.stdout.split()
    assert (result.status, result.timed_out, said[0]) == (137, True, b"before")
    assert time.monotonic() - started < 200
    assert wait_gone(int(said[1]))


def wait_gone(pid: int) -> bool:
    """Say whether the process disappears. Where nobody reaps orphans (containers), a zombie is gone enough."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if os.path.exists(f"/proc/{pid}/stat"):
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("orphan", ["sleep 600", "(while sleep 0.01; do echo noise; done)"])
def test_an_orphan_that_keeps_the_pipe_is_not_waited_for(orphan: str) -> None:
    """Hooks start daemons; neither a silent nor a talkative one may hold us."""
    started = time.monotonic()

    result = sh(f"{orphan} & echo $! >&2; echo ready", timeout=250)

    assert (result.status, result.timed_out) == (0, False)
    assert b"ready" in result.stdout
    assert time.monotonic() - started < 200
    os.kill(int(result.stderr), 9)


def test_a_program_that_closes_its_outputs_is_waited_for() -> None:
    assert sh("exec >&- 2>&-; sleep 0.2; exit 4").status == 4


def test_a_program_that_closes_its_outputs_meets_the_deadline_too() -> None:
    result = sh("exec >&- 2>&-; sleep 77", timeout=0.2)

    assert (result.status, result.timed_out) == (137, True)


def test_ignored_and_blocked_signals_are_not_inherited() -> None:
    """Python ignores SIGPIPE; a hook that inherited that would spin on a closed pipe."""
    import signal

    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        statuses = [sh(f"kill -{name} $$; exit 0").status for name in ("INT", "TERM", "PIPE")]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGINT, old)

    assert statuses == [130, 143, 141]


@pytest.mark.parametrize("flags", [os.O_RDONLY, getattr(os, "O_PATH", os.O_RDONLY)], ids=["open", "O_PATH"])
def test_leaks_are_seen_by_who_may_open_few_files(flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose limit is lower than a descriptor that it has; with O_PATH, too, which poll(2) would take for closed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = os.open("/dev/null", flags)
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD, 130)
    os.close(opened)
    limit = max(programs.STRAYS, descriptor + 1)  # many are open where a test before this one has left some
    monkeypatch.setattr(programs, "STRAYS", limit)
    try:
        seen = programs._strays()
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
        few = programs._strays()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(descriptor)

    assert descriptor in seen
    assert few == seen


def test_descriptors_leaked_into_us_stop_here() -> None:
    """A caller's descriptor 7 must not reach ifconfig, nor a hook."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        result = sh(f"echo x <&{descriptor}")
    finally:
        os.close(descriptor)

    assert result.status != 0


def test_what_a_program_is_given_is_not_taken_for_a_leak(tmp_path: Path) -> None:
    """A logging program is given 3 to 5, which stay its own where our caller leaked descriptors with these numbers."""
    script = "exec >said; cat <&3; for number in 5 6; do eval 'echo x >&'$number || echo no $number; done"
    given = os.open(tmp_path / "given", os.O_RDWR | os.O_CREAT)
    os.write(given, b"given\n")
    os.lseek(given, 0, os.SEEK_SET)
    pid = os.fork()  # this process may use such numbers itself
    if not pid:
        status = 1
        try:
            os.dup2(given, 60)
            for number in (3, 4, 5, 6):
                os.dup2(60, number)
            os.chdir(tmp_path)
            null = os.open("/dev/null", os.O_RDWR)
            program = programs.start(["/bin/sh", "-c", script], programs.ENVIRONMENT, [null, null, null, 60, 60, null])
            status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        finally:
            os._exit(status)
    os.close(given)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "said").read_text("ascii") == "given\nno 6\n"


def test_it_works_without_standard_descriptors() -> None:
    """Daemons close 0 to 2; then our pipes would get those numbers and vanish at execve."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            for descriptor in (0, 1, 2):
                os.close(descriptor)
            status = 0 if programs.run(["/bin/cat"], input=b"yes").stdout == b"yes" else 2
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0


def test_the_program_leads_its_own_group() -> None:
    script = "import os, sys; sys.exit(os.getpgid(0) != os.getpid())"

    assert programs.run([sys.executable, "-c", script], env={}).status == 0


def test_a_lost_exit_status_is_said() -> None:
    """With SIGCHLD ignored the kernel throws statuses away."""
    import signal

    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(HostError, match="exit status was lost"):
            sh("exit 0")
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_an_interrupted_conversation_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised between start and end, the program is killed and collected."""

    def interrupt(talk: object, descriptor: int) -> None:
        raise KeyboardInterrupt

    others = children()
    monkeypatch.setattr(programs._Communicate, "_move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sh("echo x; sleep 77")

    assert children() <= others


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["/sbin/ifconfig", "lo0", "inet", "10.0.0.1/32"], "/sbin/ifconfig lo0 inet 10.0.0.1/32"),
        (["a b", "", "it's"], "'a b' '' 'it'\"'\"'s'"),
    ],
)
def test_commands_can_be_pasted_into_a_shell(argv: list[str], text: str) -> None:
    assert programs.command(argv) == text
    assert sh(f"printf '%s\\n' {text}").stdout.decode().splitlines() == argv


def test_check_names_the_command_its_code_and_the_first_line() -> None:
    with pytest.raises(HostError) as caught:
        programs.check([SH, "-c", "echo; echo first >&2; echo second >&2; exit 5"])

    assert str(caught.value) == "/bin/sh -c 'echo; echo first >&2; echo second >&2; exit 5' returned 5: first"


def test_check_without_a_word_from_the_program() -> None:
    with pytest.raises(HostError, match=r"returned 1$"):
        programs.check(["/bin/false" if os.path.exists("/bin/false") else "/usr/bin/false"])


def test_check_of_a_missing_tool_does_not_sound_like_a_missing_container_program() -> None:
    """podman turns "No such file or directory" anywhere into exit code 127."""
    with pytest.raises(HostError, match=r"/sbin/nonesuch: cannot be run: does not exist"):
        programs.check(["/sbin/nonesuch"])


def test_check_says_when_time_is_up() -> None:
    with pytest.raises(HostError, match=r"no end after 0.1 s"):
        programs.check([SH, "-c", "sleep 77"], timeout=0.1)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("path /x: No such file or directory", "path /x: does not exist"),
        ("No such file or directory", "does not exist"),
        ("jail_set: Operation not permitted", "jail_set: not allowed"),
        ("open: Permission denied", "open: access refused"),
        ("Device busy", "Device busy"),
    ],
)
def test_causes_are_reworded(said: str, meant: str) -> None:
    assert programs.plain(said) == meant
