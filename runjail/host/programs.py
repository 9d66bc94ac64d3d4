"""The one place that starts programs: system tools of both hosts, and hooks.

Programs are started by absolute path, without a shell, with exactly the environment given, default signals, a process
group of their own and no descriptors but 0 to 2. Neither side of the pipes can block the other for ever.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time

from runjail import log, signals
from runjail.errors import HostError, reason
from runjail.record import Record, to_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Mapping, Sequence
else:
    import _signal  # the C half: signal itself imports enum

ENVIRONMENT = {"LC_ALL": "C", "PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}
# Where programs are searched that are no part of the system. Our caller's PATH decides nothing: who can set it must not
# choose the program that gets keys.
SEARCH_PATH = f"/usr/local/bin:/usr/local/sbin:{ENVIRONMENT['PATH']}"
GRACE = 0.2  # seconds that a pipe may stay open after the program is gone: a daemon it left behind holds it
TICK = 0.05  # seconds between two looks at whether the program is gone
BLOCK = 65536
STRAYS = 256  # descriptors below this are looked at; callers pass what they leak by the lowest numbers
HELD: set[int] = set()  # inheritable descriptors that programs keep: program_lock.py
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")

# What callers take for a verdict on the container's program when they find it anywhere in a message: errors.reason.
REWORDED = {
    "No such file or directory": "does not exist",
    "Permission denied": "access refused",
    "Operation not permitted": "not allowed",
}


class Result(Record):
    """How a program ended. status: exit code, or 128 + signal; stdout, stderr: cut off at the limit.

    left: it was not to leave processes behind, and left some that hold its outputs open.
    """

    status: int
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False
    left: bool = False


def command(argv: Sequence[str]) -> str:
    """Return argv as a line that can be pasted into a shell."""
    return " ".join(text if text and PLAIN.issuperset(text) else _quote(text) for text in argv)


def which(*names: str) -> str | None:
    """Return the absolute path of the first of these programs that can be executed; a path is only looked at."""
    for name in names:
        places = [name] if name.startswith("/") else [f"{directory}/{name}" for directory in SEARCH_PATH.split(":")]
        for path in places:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def plain(text: str) -> str:
    """Return a cause in words that nobody mistakes for "the container's program is missing"."""
    for phrase, instead in REWORDED.items():
        text = text.replace(phrase, instead)
    return text


def first_line(output: bytes) -> str:
    """Return the first line that says something, in words that do not mislead callers; "" when there is none."""
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    return plain(next((line for line in lines if line), ""))


def check(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, input: bytes = b"", timeout: float = 30.0
) -> Result:
    """Run a system program that has to succeed. Raises HostError: `ifconfig lo9 up returned 1: ...`."""
    try:
        result = run(argv, env=env, input=input, timeout=timeout)
    except OSError as error:
        raise HostError(f"{command(argv)}: cannot be run: {reason(error)}") from error
    if result.timed_out:
        raise HostError(f"{command(argv)}: no end after {timeout:g} s")
    if result.status:
        output = first_line(result.stderr) or first_line(result.stdout)
        raise HostError(f"{command(argv)} returned {result.status}" + (f": {output}" if output else ""))
    return result


def run(
    argv: Sequence[str],
    *,
    path: str | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes = b"",
    timeout: float = 30.0,
    limit: int = 65536,
    leave: bool = True,
    foreign: bool = False,
) -> Result:
    """Run one program to its end, feeding it `input` and collecting up to `limit` bytes of each output.

    path: the file to execute, argv[0] when it is None; there is no search. env: the whole environment, None for a
    minimal one. After `timeout` seconds its process group is killed. A process it leaves behind is not waited for; with
    leave=False its group is killed when it ends, and as soon as it writes more than `limit` to its standard output.
    foreign: it is not a tool that we know, so wherever its group is to be killed, and when it fails, everybody whom it
    has started is, in sessions of their own too.
    Raises OSError when the program cannot be started, HostError when somebody else collected its exit status.
    """
    if log.debugging():
        log.debug(f"program {path or argv[0]}: {command(argv)}")
    end = time.monotonic() + timeout

    def converse() -> Result:
        return _converse(path or argv[0], argv, ENVIRONMENT if env is None else env, input, end, limit, leave)

    if not foreign:
        return converse()
    from runjail.host.reaper import supervise

    return Result(**supervise(lambda: to_data(converse()), leave, HELD))


def _converse(
    path: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    input: bytes,
    end: float,
    limit: int,
    leave: bool,
) -> Result:
    pipes = [_pipe() for _ in range(3)]
    child_ends = [pipes[0][0], pipes[1][1], pipes[2][1]]
    own_ends = [pipes[0][1], pipes[1][0], pipes[2][0]]
    try:
        pid = _spawn(path, argv, env, child_ends)
    except BaseException:
        _close(own_ends)
        raise
    finally:
        _close(child_ends)
    talk = _Communicate(pid, own_ends, input, limit, end, leave)
    try:
        return talk.finish()
    except BaseException:
        talk.kill()
        raise
    finally:
        talk.close()


def start(argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]) -> int:
    """Start a program that goes on by itself, with `descriptors` as its 0, 1, 2 and so on. Returns its pid.

    Raises OSError when it cannot be started.
    """
    child_ends = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, len(descriptors)) for each in descriptors]
    try:
        return _spawn(argv[0], argv, env, child_ends)
    finally:
        _close(child_ends)


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends are not 0, 1 or 2: duplicating those onto themselves would leave them close-on-exec."""
    ends = os.pipe()
    if min(ends) > 2:
        return ends
    try:
        reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    finally:
        _close(list(ends))
    return reading, writing


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _spawn(path: str, argv: Sequence[str], env: Mapping[str, str], child_ends: list[int]) -> int:
    actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, descriptor, i) for i, descriptor in enumerate(child_ends)]
    actions += [
        (os.POSIX_SPAWN_CLOSE, stray) for stray in _strays() if stray >= len(child_ends)
    ]  # the others are replaced
    # KILL and STOP cannot be set, not even to their default: FreeBSD's posix_spawn fails when asked to.
    signals = [number for number in _signal.valid_signals() if number not in (_signal.SIGKILL, _signal.SIGSTOP)]
    return os.posix_spawn(path, list(argv), env, file_actions=actions, setpgroup=0, setsigmask=[], setsigdef=signals)


def _strays() -> list[int]:
    """Return the descriptors that an execve would pass on: whatever our caller leaked into us.

    Each is asked for itself: poll(2) takes those with O_PATH for closed, and on FreeBSD those without CAP_EVENT.
    """
    strays = []
    for descriptor in range(3, STRAYS):
        try:
            if os.get_inheritable(descriptor) and descriptor not in HELD:
                strays.append(descriptor)
        except OSError:
            pass
    return strays


class _Communicate:
    """The conversation with one running program."""

    def __init__(
        self, pid: int, pipes: list[int], input: bytes, limit: int, deadline: float, leave: bool = True
    ) -> None:
        self.pid, self.limit, self.deadline, self.leave = pid, limit, deadline, leave
        self.stdin, self.stdout, self.stderr = pipes
        self.pending = memoryview(input)
        self.output: dict[int, bytearray] = {self.stdout: bytearray(), self.stderr: bytearray()}
        self.status: int | None = None
        self.collected = False
        self.poll = select.poll()
        self.open = set(pipes)
        for descriptor in pipes:
            os.set_blocking(descriptor, False)
            self.poll.register(descriptor, select.POLLOUT if descriptor == self.stdin else select.POLLIN)
        if not input:
            self._shut(self.stdin)

    def finish(self) -> Result:
        """Drain the pipes, wait for the end, kill at the deadline."""
        timed_out = left = False
        self._exchange()
        if self.status is None and not self._too_much():
            timed_out = not self._wait()
        if timed_out or self._too_much():
            self.kill()
            self._drain()
        elif not self.leave:
            left = bool(self.output.keys() & self.open)
            self._kill_group()
        outputs = (bytes(self.output[self.stdout]), bytes(self.output[self.stderr]))
        return Result(self.status or 0, *outputs, timed_out, left)

    def _exchange(self) -> None:
        """Move bytes until both outputs end, the program is gone and had its grace, or time is up."""
        stop, look = self.deadline, time.monotonic() + TICK
        while self.output.keys() & self.open:
            now = time.monotonic()
            if now >= stop or self._too_much():
                self._drain()  # on a busy machine all of that time may have passed without us
                return
            for descriptor, _ in self.poll.poll(min(TICK, stop - now) * 1000):
                self._move(descriptor)
            if self.status is None and now >= look:
                look = now + TICK
                if self._gone():
                    stop = min(stop, now + GRACE)

    def _move(self, descriptor: int) -> None:
        if descriptor == self.stdin:
            self._write()
            return
        try:
            block = os.read(descriptor, BLOCK)
        except BlockingIOError:
            return
        if not block:
            self._shut(descriptor)
        output = self.output[descriptor]
        output += block[: self.limit - len(output)]

    def _write(self) -> None:
        try:
            self.pending = self.pending[os.write(self.stdin, self.pending[:BLOCK]) :]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EPIPE:  # EPIPE: it does not want to read more
                raise
            self.pending = self.pending[:0]
        if not self.pending:
            self._shut(self.stdin)

    def _drain(self) -> None:
        """Take what is in the pipes already."""
        for descriptor in self.output.keys() & self.open:
            self._move(descriptor)

    def _wait(self) -> bool:
        """Wait for a program that closed its outputs but runs on. False when time is up."""
        pause = 0.0002
        while not self._gone():
            if time.monotonic() >= self.deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, TICK)
        return True

    def _too_much(self) -> bool:
        return not self.leave and len(self.output[self.stdout]) >= self.limit

    def _gone(self, options: int = os.WNOHANG) -> bool:
        try:
            if not self.leave and options:  # uncollected, it keeps its number from others until its group is killed
                ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | options)
                if ended:
                    self.status = ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)
                return bool(ended)
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            self.status, self.collected = 0, True
            raise HostError(f"process {self.pid}: its exit status was lost, SIGCHLD is ignored") from None
        if pid:
            self.collected = True
            self.status = signals.exit_status(status)
        return bool(pid)

    def kill(self) -> None:
        """Kill the program and its process group, and collect it."""
        if self.status is None or not self.leave:
            self._kill_group()

    def _kill_group(self) -> None:
        if not self.collected:
            try:
                os.killpg(self.pid, _signal.SIGKILL)
            except (PermissionError, ProcessLookupError):  # FreeBSD, when nobody but the zombie is left
                pass
            self._gone(0)

    def _shut(self, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        self.open.remove(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in list(self.open):
            self._shut(descriptor)
