"""Terminals: handed over by a console socket, or shown on the caller's own."""

import array
import contextlib
import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life, until
from tests.support.program import LINUX, own_words


class Console:
    """A caller's console socket; `receive` takes what the runtime sent, after it has returned, as containerd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.master = -1
        before = os.getcwd()
        os.chdir(path.parent)
        try:
            self.listener.bind(path.name)
        finally:
            os.chdir(before)
        self.listener.listen(1)
        self.listener.settimeout(120)

    def receive(self) -> tuple[bytes, int]:
        """Return the data and the master; exactly one message with exactly one descriptor must come."""
        connection, _ = self.listener.accept()
        with connection:
            descriptors = array.array("i")
            data, ancillary, _flags, _address = connection.recvmsg(4096, socket.CMSG_SPACE(4 * 8))
            for level, kind, content in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                descriptors.frombytes(content[: len(content) - len(content) % 4])
            assert len(descriptors) == 1
            assert connection.recv(1) == b""
        self.master = descriptors[0]
        return data, self.master

    def close(self) -> None:
        self.listener.close()
        if self.master >= 0:
            os.close(self.master)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A console socket whose path is longer than sun_path."""
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    made = Console(directory / "sock")
    yield made
    made.close()


def read_until(master: int, text: bytes, seconds: float = 120) -> bytes:
    """Read from a terminal until a text came; what came is in the error otherwise."""
    seen, end = b"", time.monotonic() + seconds
    while text not in seen:
        ready, _, _ = select.select([master], [], [], max(0, end - time.monotonic()))
        assert ready, f"{text!r} did not come, only {seen!r}"
        with contextlib.suppress(OSError):  # EIO: the last slave was closed
            block = os.read(master, 65536)
            seen += block
            continue
        assert text in seen, f"{text!r} did not come, only {seen!r}"
    return seen


def window(master: int) -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


SCRIPT = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo is-a-tty; read x; echo got $x"


def test_a_console_socket(life: Life, console: Console) -> None:
    """The terminal comes as one message with one descriptor; it has its size and its owner and is the session's."""
    if LINUX:
        life.bundle.config["mounts"].append(
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            }
        )
    script = f"{SCRIPT}; (echo ctty >/dev/tty); sleep 600"
    size = {"height": 33, "width": 77}
    life.create(
        "/bin/sh", "-c", script, options=("--console-socket", str(console.path)), terminal=True, consoleSize=size
    )
    data, master = console.receive()
    life.runjail.ok("start", "c")
    shown = read_until(master, b"is-a-tty")
    os.write(master, b"word\n")
    shown += read_until(master, b"ctty")

    assert 0 < len(data) < 4096
    assert window(master) == (33, 77)
    assert b"33 77" in shown
    assert b"got word" in shown
    assert b"/dev/" in shown


def test_a_relative_console_socket(life: Life, console: Console) -> None:
    bundle = life.bundle.write("/bin/sleep", "600", terminal=True)
    life.runjail.ok("create", "-b", bundle, "--console-socket", "sock", "c", cwd=console.path.parent)

    assert os.isatty(console.receive()[1])


def test_nothing_of_the_callers_streams_stays(life: Life, console: Console) -> None:
    """containerd reads create's output to its end: an init that holds it would let it wait for ever."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [
            life.runjail.program, "--root", str(life.runjail.root), "create",
            "-b", life.bundle.write("/bin/sleep", "600", terminal=True), "--console-socket", str(console.path), "c",
        ],
        stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    assert process.wait(120) == 0
    ready, _, _ = select.select([reading], [], [], 120)

    assert ready, "somebody still has create's output open"
    said = b"".join(iter(lambda: os.read(reading, 4096), b""))
    assert own_words(said.decode()) == ""
    os.close(reading)


def test_hang_up_ends_the_program(life: Life, console: Console) -> None:
    """It is the controlling terminal: closing the master hangs up."""
    life.create("/bin/cat", options=("--console-socket", str(console.path)), terminal=True)
    console.receive()
    life.runjail.ok("start", "c")
    assert life.runjail.state("c")["status"] == "running"
    os.close(console.master)
    console.master = -1

    life.runjail.wait("c")


def test_exec_with_a_console_socket(life: Life, console: Console) -> None:
    life.sleep()
    life.runjail.ok("exec", "-t", "-d", "--console-socket", str(console.path), "c", "/bin/sh", "-c", SCRIPT)
    _data, master = console.receive()
    shown = read_until(master, b"is-a-tty")
    os.write(master, b"word\n")

    assert b"got word" in shown + read_until(master, b"got word")


@pytest.mark.parametrize("verb", ["create", "exec"])
def test_console_sockets_that_make_no_sense(life: Life, console: Console, verb: str) -> None:
    """A detached terminal needs a socket, a socket needs a terminal, and it must be there."""
    if verb == "create":
        with_terminal = ("create", "-b", life.bundle.write(terminal=True))
        missing = life.runjail(*with_terminal, "--console-socket", str(console.path.parent / "none"), "c")
        without_socket = life.runjail(*with_terminal, "c")
        without_terminal = life.runjail(
            "create", "-b", life.bundle.write(terminal=False), "--console-socket", str(console.path), "c"
        )
        life.gone()
    else:
        life.sleep()
        missing = life.runjail("exec", "-t", "-d", "--console-socket", str(console.path.parent / "none"), "c", "true")
        without_socket = life.runjail("exec", "-t", "-d", "c", "true")
        without_terminal = life.runjail("exec", "-d", "--console-socket", str(console.path), "c", "true")

    assert missing.stderr == f"runjail: connecting to console socket {console.path.parent / 'none'}: does not exist\n"
    assert "--console-socket is missing" in without_socket.stderr
    assert "--console-socket is of no use" in without_terminal.stderr
    assert {missing.returncode, without_socket.returncode, without_terminal.returncode} == {
        1 if verb == "create" else 255
    }


def test_nobody_listens(life: Life, console: Console) -> None:
    """A socket that was closed is an error and no hang; nothing stays."""
    console.listener.close()
    bundle = life.bundle.write(terminal=True)
    result = life.runjail("create", "-b", bundle, "--console-socket", str(console.path), "c")

    assert result.returncode == 1
    assert "connecting to console socket" in result.stderr
    life.gone()


class Screen:
    """A program on a terminal of ours."""

    def __init__(self, *command: str) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 21, 43, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        streams = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.process = subprocess.Popen(command, start_new_session=True, env={}, **streams)

    def raw(self) -> None:
        """Wait until the runtime passes every key on."""
        until(lambda: not termios.tcgetattr(self.slave)[3] & termios.ISIG)

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_foreground_terminal(life: Life, verb: str) -> None:
    """`-t` shows the container's terminal on ours: input, size, resizing, raw mode and its end, exit code."""
    script = f"{SCRIPT}; until [ \"$(stty size)\" = '50 60' ]; do sleep 0.02; done; stty size; exit 6"
    program = [life.runjail.program, "--root", str(life.runjail.root)]
    if verb == "exec":
        life.sleep()
        words = ["exec", "-t", "c", "/bin/sh", "-c", script]
    else:
        words = ["run", "-t", "-b", life.bundle.write("/bin/sh", "-c", script), "c"]
    with Screen(*program, *words) as screen:
        _talk(screen)
    if verb == "run":
        life.gone()


def _talk(screen: Screen) -> None:
    shown = read_until(screen.master, b"is-a-tty")
    screen.raw()
    os.write(screen.master, b"word\r")
    shown += read_until(screen.master, b"got word")
    fcntl.ioctl(screen.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 60, 0, 0))
    os.kill(screen.process.pid, 28)  # SIGWINCH: our terminal is nobody's controlling one
    shown += read_until(screen.master, b"50 60")

    assert b"21 43" in shown
    assert screen.process.wait(120) == 6
    assert termios.tcgetattr(screen.slave) == screen.before


def showing(life: Life, *args: str) -> Screen:
    """Run a container in the foreground on a terminal of ours."""
    program = [life.runjail.program, "--root", str(life.runjail.root)]
    return Screen(*program, "run", "-t", "-b", life.bundle.write(*args), "c")


def test_all_output_arrives(life: Life) -> None:
    """What the program printed last is shown, also when it ends at once."""
    script = "i=0; while test $i -lt 2000; do echo line $i; i=$((i+1)); done; echo end"
    with showing(life, "/bin/sh", "-c", script) as screen:
        shown = read_until(screen.master, b"end\r\n")

        assert screen.process.wait(120) == 0
        assert b"line 1999" in shown


def test_interrupt_goes_to_the_program(life: Life) -> None:
    """Ctrl-C is a character to the container's terminal, which makes it a signal for the program."""
    script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    with showing(life, "/bin/sh", "-c", script) as screen:
        read_until(screen.master, b"ready")
        screen.raw()
        os.write(screen.master, b"\x03")
        read_until(screen.master, b"interrupted")

        assert screen.process.wait(120) == 3


def test_a_terminal_without_one_on_our_side(life: Life) -> None:
    """Input and output may be pipes; the end of the input is the end of the program's."""
    life.sleep()
    result = life.runjail("exec", "-t", "c", "/bin/sh", "-c", "cat; exit 8", stdin="to the terminal\n")

    assert result.returncode == 8
    assert "to the terminal" in result.stdout


def test_the_end_of_our_input_shows_nowhere(life: Life) -> None:
    """It is typed as ^D, of which FreeBSD shows as much; what is typed afterwards would be shown again."""
    life.sleep()
    script = "cat; until stty -a 2>&1 | grep -q ' echo '; do :; done; echo done"

    assert life.runjail.ok("exec", "-t", "c", "/bin/sh", "-c", script).stdout == "done\n"


def test_lines_of_a_terminal_in_a_file(life: Life) -> None:
    """As the program wrote them; our terminal goes on ending lines for those who read the file from a pipe."""
    out = life.path / "out"
    script = "test -t 1 && printf 'one\\ntwo\\n'; read word"
    words = ["run", "-t", "-b", life.bundle.write("/bin/sh", "-c", script), "c"]
    shell = ["/bin/sh", "-c", f'exec "$@" >{out}', "sh", life.runjail.program, "--root", str(life.runjail.root)]
    with Screen(*shell, *words) as screen:
        until(lambda: out.exists() and out.read_bytes() == b"one\ntwo\n")
        screen.raw()
        assert termios.tcgetattr(screen.slave)[1] & termios.OPOST
        os.write(screen.master, b"\r")

        assert screen.process.wait(120) == 0


def test_a_terminal_failure_leaves_nothing(life: Life) -> None:
    """A program that does not exist, with a terminal: the error, the usual mode, no container."""
    with showing(life, "/nope") as screen:
        read_until(screen.master, b'exec: "/nope": stat')

        assert screen.process.wait(120) == 1
        assert termios.tcgetattr(screen.slave) == screen.before
    life.gone()
