"""A program that is a container's network, from before its start to the end of its init.

    creator ─ forks ─ watcher ─ forks ─ program

The watcher waits for init's end (pidfd_open(2)) and then ends the program. Both are noted before the program is
executed, and each ends when the other is killed: the program because the kernel tells it so (prctl(2),
PR_SET_PDEATHSIG). So whoever dies, nobody is left that the notes do not know, and nobody outlives init.
Namespaces reach the program as open descriptors: an ordinary user cannot open those of a parked init by its pid.
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import select
import time

from runjail import signals
from runjail.errors import HostError, NetworkError, reason
from runjail.host import programs
from runjail.host.base import close_others, use_dev_null
from runjail.host.linux import join, libc, processes
from runjail.host.linux.user_namespace import fail, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from runjail.host.base import HostState, UndoLog
    from runjail.host.linux.change import Change
    from runjail.host.networks import NetworkProgram

READY_SECONDS = 20.0
END_SECONDS = 10.0
COLLECT_SECONDS = 1.0  # that a watcher has to collect the program
PAUSE = 0.002
PR_SET_PDEATHSIG = 1
SIGKILL, SIGSTOP = 9, 19
BLOCK = 1 << 14
LINES = 1 << 16  # bytes that are kept of what a program says before it is ready
HIGH = 64  # descriptors are moved above this before they get the program's numbers
START = 22 - 3  # field of /proc/PID/stat, of those that processes.stat returns
BOOT = "/proc/sys/kernel/random/boot_id"
NOISE = ("WARNING", "sent tapfd", "received tapfd", "child failed", "parent failed", "Failed to send")
# of both programs, beside the cause; the last is of pasta without a syslog
KINDS = (libc.CLONE_NEWNET, libc.CLONE_NEWUSER)
DIED = "the process that watches over the program was killed"


def run(program: NetworkProgram, host_state: HostState, note: UndoLog) -> None:
    """Start a program, and return once it is ready; see NetworkHost.run. Raises NetworkError, HostError."""
    pid, opened = host_state.pid, list[tuple[int, int]]()
    handles = join.checked(program.ask(), host_state) if join.is_hidden(pid) else {}
    try:
        opened = join.open_others(host_state, ("net", "user"), handles)
        handles["init"] = os.pidfd_open(pid)
        if _started(pid) != host_state.started:
            raise HostError("the container's init is gone")
        net, user = (next((each for each, kind in opened if kind == flag), -1) for flag in KINDS)
        _start(program, _Given(handles["init"], net, user, program.directory), note)
    finally:
        for descriptor in {*handles.values(), *(each for each, _kind in opened)}:
            os.close(descriptor)


class _Given:
    """What the watcher has open. user: -1 where the container has no user namespace of its own."""

    def __init__(self, init: int, net: int, user: int, directory: int) -> None:
        self.init, self.net, self.user, self.directory = init, net, user, directory

    def listed(self) -> list[int]:
        return [each for each in (self.init, self.net, self.user, self.directory) if each >= 0]


def _start(program: NetworkProgram, given: _Given, note: UndoLog) -> None:
    """Fork the watcher, note it and the program, and wait until the program is ready. Raises NetworkError."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    watcher = signals.fork()
    if not watcher:
        ours.close()
        _watch(program, given, theirs)
    theirs.close()
    try:
        ours.settimeout(READY_SECONDS + END_SECONDS)
        child = int(receive(ours, DIED))
        listed = [[pid, _started(pid)] for pid in (watcher, child)]
        note({"undo": "program", "processes": listed, "boot": _boot()})
        ours.send(b"go")
        receive(ours, DIED)
    except BaseException as error:
        signals.kill_child(watcher)
        if isinstance(error, (HostError, OSError)):
            raise NetworkError(f"--network {program.name}: {error}", getattr(error, "hint", None)) from None
        raise
    finally:
        ours.close()


def end(_change: Change, note: dict[str, object]) -> None:
    """Undo `run`: kill the program, and who does not end with it, if they are who they were. Raises HostError.

    Who was dead when it was noted has no start time.
    """
    listed = note["processes"]
    if note["boot"] != _boot() or not isinstance(listed, list):
        return
    for pid, started in listed[::-1]:  # the watcher, which collects the program, is the first
        if started and not _ends(pid, started, COLLECT_SECONDS if [pid, started] == listed[0] else 0):
            processes.kill(pid, started, SIGKILL, _started)
            if not _ends(pid, started, END_SECONDS):
                raise HostError(f"the program that was the container's network (pid {pid}) does not die")


def _ends(pid: int, started: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _started(pid) == started:
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True


def _started(pid: int) -> str:
    """Return when a process was started, "" for zombies and the dead, as Host.start_time."""
    fields = processes.stat(pid)
    return "" if not fields or fields[0] in (b"Z", b"X", b"x") else fields[START].decode()


def _boot() -> str:
    with open(BOOT, encoding="ascii") as file:
        return file.read().strip()


# -- *child*: the watcher -------------------------------------------------------------------------------------------


def _watch(program: NetworkProgram, given: _Given, link: _socket.socket) -> NoReturn:
    """Start the program, tell our creator, and stay until init or the program ends."""
    try:
        os.setsid()
        os.chdir("/")  # where we were started may be unmounted
        use_dev_null()
        close_others([link.fileno(), *given.listed()])
        child = _Child(program, given, link)
        try:
            link.send(b"%d" % child.pid)
            if link.recv(8) == b"go":  # else our creator died before it had us noted
                child.go()
                child.wait_ready(link)
                link.send(b"ready")
                link.close()
                child.wait_end(given.init)
        finally:
            os.kill(child.pid, SIGKILL)
            os.waitpid(child.pid, 0)
    except BaseException as error:
        fail(link, error)
    finally:
        os._exit(0)  # the program ends with us, whatever comes


class _Child:
    """The program, from the fork on. It is executed once `go` says so, and not if we die before."""

    def __init__(self, program: NetworkProgram, given: _Given, link: _socket.socket) -> None:
        self._gate, gate = os.pipe()[::-1]
        self._ready, ready = os.pipe()
        self._lines, lines = os.pipe()
        self._end, end = os.pipe()[::-1]
        watcher = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            link.close()
            os.close(self._gate)
            os.close(self._end)
            _become(program, given, watcher, gate, lines, (ready, end))
        for descriptor in (gate, ready, lines, end):
            os.close(descriptor)
        self._handle = os.pidfd_open(self.pid)
        self._said = b""

    def go(self) -> None:
        try:
            os.write(self._gate, b"g")
        except BrokenPipeError:  # it is gone; `wait_ready` finds out why
            pass
        os.close(self._gate)

    def wait_ready(self, link: _socket.socket) -> None:
        """Return once the program says that it is ready. Raises HostError with what it says when it ends instead."""
        poll, deadline = self._poll(), time.monotonic() + READY_SECONDS
        poll.register(self._ready, select.POLLIN)
        poll.register(link, 0)  # a hang-up: our creator is gone
        while (left := deadline - time.monotonic()) > 0:
            found = [descriptor for descriptor, _event in poll.poll(left * 1000)]
            if self._ready in found and os.read(self._ready, 64):
                os.close(self._ready)
                return
            if self._lines in found and not self._hear():
                poll.unregister(self._lines)
            if self._handle in found or link.fileno() in found or self._ready in found:
                raise HostError(self._cause())
        raise HostError(f"it is not ready after {READY_SECONDS:g} s")

    def wait_end(self, init: int) -> None:
        """Return when init or the program has ended; what the program says meanwhile is of no use to anybody."""
        poll = self._poll()
        poll.register(init, select.POLLIN)
        while True:
            found = [descriptor for descriptor, _event in poll.poll()]
            if init in found or self._handle in found:
                return
            if not self._hear():
                poll.unregister(self._lines)
            self._said = b""

    def _poll(self) -> select.poll:
        poll = select.poll()
        for descriptor in (self._handle, self._lines):
            poll.register(descriptor, select.POLLIN)
        return poll

    def _hear(self) -> bool:
        """Read what it says, once. Returns whether there may be more."""
        block = os.read(self._lines, BLOCK)
        self._said = (self._said + block)[:LINES]
        return bool(block)

    def _cause(self) -> str:
        """Return the first line that tells something, of all that was said by now."""
        os.kill(self.pid, SIGKILL)  # it may live, and then nobody needs it
        os.set_blocking(self._lines, False)
        try:
            while self._hear():
                pass
        except BlockingIOError:  # whom it has started has it open
            pass
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").splitlines()]
        telling = [line for line in lines if line and not line.startswith(NOISE)]
        return programs.plain(telling[0])[:1000] if telling else "it ended, and does not say why"


# -- *child*: the program -------------------------------------------------------------------------------------------


def _become(
    program: NetworkProgram, given: _Given, watcher: int, gate: int, lines: int, pipes: tuple[int, int]
) -> NoReturn:
    """Execute the program, as a child of the watcher that dies with it. pipes: where it says ready, what ends it."""
    try:
        os.fchdir(given.directory)
        if program.enters and given.user >= 0:
            libc.setns(given.user, libc.CLONE_NEWUSER)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        for number in _signal.valid_signals() - {SIGKILL, SIGSTOP}:  # Python ignores SIGPIPE, which pasta objects to
            _signal.signal(number, _signal.SIG_DFL)
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL)  # after the identity, a change of which clears it
        if os.getppid() != watcher or not os.read(gate, 1):
            os._exit(1)
        wanted = [given.net, given.user if given.user >= 0 else given.net, *pipes]
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH) for descriptor in (lines, *wanted)]
        for number, descriptor in zip((2, 3, 4, 5, 6), high, strict=True):
            os.dup2(descriptor, number)
        os.dup2(2, 1)
        os.closerange(7, HIGH)
        os.execve(program.argv[0], program.argv, programs.ENVIRONMENT)
    except OSError as error:
        os.write(lines, f"executing {program.argv[0]}: {reason(error)}\n".encode())
    finally:
        os._exit(127)
