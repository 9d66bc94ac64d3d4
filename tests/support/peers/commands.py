"""How these tests call other programs: with a time limit, on a terminal when asked, with proof that nothing stays."""

import abc
import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.leftovers import Leftovers
from tests.support.limits import Services

RUNJAIL = Path(__file__).resolve().parents[3] / ".venv" / "bin" / "runjail"
SECONDS = 200.0  # no call takes this long even on a busy machine
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Finished:
    """A call that has ended."""

    def __init__(self, command: list[str], code: int, out: bytes, err: bytes) -> None:
        self.command, self.code = command, code
        self.out = out.decode("utf-8", "replace").replace("\r\n", "\n")
        self.err = err.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.out.splitlines()

    def __repr__(self) -> str:
        return f"{' '.join(self.command)} -> {self.code}\nstdout: {self.out!r:.4000}\nstderr: {self.err!r:.4000}"


def call(command: list[str], env: dict[str, str], stdin: str | None = None, seconds: float = SECONDS) -> Finished:
    """Run a program to its end; all who hold its standard output have ended then, too."""
    with start(command, env, stdin=stdin is not None) as process:
        return finish(process, stdin, seconds)


def start(command: list[str], env: dict[str, str], stdin: bool = False) -> "subprocess.Popen[bytes]":
    """Start a program; `finish` gets its answer."""
    given = subprocess.PIPE if stdin else subprocess.DEVNULL
    return subprocess.Popen(command, env=env, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]", stdin: str | None = None, seconds: float = SECONDS) -> Finished:
    """Wait for a program that was started."""
    command = list(map(str, process.args))  # type: ignore[arg-type]  # always a list here
    try:
        out, err = process.communicate(stdin.encode() if stdin is not None else None, seconds)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.wait()
        said = Finished(command, -1, late.stdout or b"", late.stderr or b"")
        raise AssertionError(f"no answer within {seconds} s: {said}") from None
    return Finished(command, process.returncode, out, err)


def on_terminal(
    command: list[str],
    env: dict[str, str],
    typed: bytes = b"",
    after: bytes = b"",
    size: tuple[int, int] = (24, 80),
    last: bytes = b"",
    seconds: float = SECONDS,
) -> Finished:
    """Run a program on a terminal of this size; type something once it has shown `after`, and a line after `last`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        command,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        turns = [(after, typed)] * bool(typed) + [(last, b"\n")] * bool(last)
        shown = _converse(master, turns, seconds)
        code = process.wait(seconds)
    except (subprocess.TimeoutExpired, TimeoutError) as late:
        process.kill()
        process.wait()
        raise AssertionError(f"{' '.join(command)}: no end within {seconds} s, shown: {late.args}") from None
    finally:
        os.close(master)
    return Finished(command, code, shown, b"")


def check_terminal(
    command: list[str],
    env: dict[str, str],
    code: int,
    after: bytes = b"/dev/pts/",
    size: tuple[int, int] = (24, 80),
    last: bytes = b"",
) -> None:
    """Run a program that names its terminal, waits for its size, reads a word, repeats it, and ends with `code`.

    last: what it has shown when it is given another line to end.
    """
    done = on_terminal(command, env, typed=b"hello\n", after=after, size=size, last=last)
    assert done.code == code, done
    assert "/dev/pts/0" in done.lines  # of the container's own devpts
    assert "got hello" in done.lines


def _converse(master: int, turns: list[tuple[bytes, bytes]], seconds: float) -> bytes:
    """Return what is shown. turns: what has to be shown first, and what is typed then."""
    shown, end = b"", time.monotonic() + seconds
    while True:
        if turns and turns[0][0] in shown:
            os.write(master, turns.pop(0)[1])
        if not select.select([master], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError(shown)
        try:
            block = os.read(master, 65536)
        except OSError:  # EIO: the last program on the terminal has ended
            return shown
        if not block:
            return shown
        shown += block


def eventually(holds: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until something holds that takes its time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.03)


def processes_naming(text: str) -> list[str]:
    """Return pid and command line of every process, but for this one, whose arguments contain the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if text in line and int(pid) != os.getpid():
                found.append(f"{pid} {line}")
    return found


class Caller(abc.ABC):
    """A container engine: `command` with its global options, `env`, and `words` of the call that runs a program."""

    command: list[str]
    env: dict[str, str]

    def __call__(self, *args: str, **more: Any) -> Finished:
        """Run one command of the engine's."""
        return call([*self.command, *args], self.env, **more)

    def ok(self, *args: str, **more: Any) -> Finished:
        """Run it and insist on success."""
        done = self(*args, **more)
        assert done.code == 0, done
        return done

    @abc.abstractmethod
    def words(self, options: str, *command: str) -> list[str]:
        """Return the words after the global options that run `command` in a container."""

    def run(self, options: str, *command: str, **more: Any) -> Finished:
        """Run a program in a container and wait for what the engine says."""
        return self(*self.words(options, *command), **more)


def in_its_own_state(directory: Path, state: Path) -> Path:
    """Make a program `runjail` that keeps its state in one place, for callers that pass --root only sometimes."""
    directory.mkdir()
    program = directory / "runjail"
    program.write_text(f'#!/bin/sh\nexec {RUNJAIL} --root {state} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


class Tidiness:
    """What has to be gone after a test: all that names its directories, and all that Leftovers knows.

    `state`: the --root that runjail was given; `theirs`: last components of control groups that the caller itself
    makes and leaves, which are removed here; `stay`: processes that go on.
    """

    def __init__(
        self,
        directories: list[Path],
        state: Path,
        leftovers: Leftovers,
        theirs: tuple[str, ...] = (),
        stay: tuple[int, ...] = (),
    ) -> None:
        self.directories, self.state, self.leftovers = directories, state, leftovers
        self.theirs, self.stay = theirs, stay

    def left(self) -> list[str]:
        """Return one line for each thing that is still there."""
        found = [f"state {path}" for path in self._containers()]
        for directory in self.directories:
            found += [f"process {line}" for line in processes_naming(f"{directory}/")]
            found += [f"mount {path}" for path in self.leftovers.mounts(str(directory))]
        go_on = {*self.stay, *Services.known}  # what tests share is the session's: zfs-fuse
        found += [f"process {pid} {line}" for pid, line in self.leftovers.processes() if pid not in go_on]
        return found + [f"control group {path}" for path in self._cgroups()]

    def _containers(self) -> list[Path]:
        return [path for path in self.state.glob("**/*") if path.name == "state.json" or path.name == "undo"]

    def _cgroups(self) -> list[str]:
        parents = (self.leftovers.group, *self.theirs)
        return [path for path in self.leftovers.cgroups() if path.rpartition("/")[2] not in parents]

    def check(self) -> None:
        """Give what ends by itself a moment; then nothing may be left."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self.left(), "tidy", 15)
        left = self.left()
        for path in self.leftovers.cgroups():
            with contextlib.suppress(OSError):
                os.rmdir(path)
        assert not left, "the test left behind:\n  " + "\n  ".join(left)
