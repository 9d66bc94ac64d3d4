"""Signals that ask us to end: the first raises Interrupted, so that all is taken back.

Later ones do nothing. Where `catch` was not called, in a shim and in children, signals do what they did, and `hold` and
`release` nothing.
"""

from __future__ import annotations

import _signal
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLLECT_SECONDS = 5  # that a killed child has to end
ENDING = tuple(getattr(_signal, f"SIG{name}") for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM"))


class Interrupted(KeyboardInterrupt):
    """A signal asks us to end. code: the exit code of who was ended by it, 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


class _State:
    held = False
    came = 0  # the signal that came while they were held


def catch() -> None:
    """From now on raise Interrupted for what ends a process by default, unless our caller ignores it (nohup(1))."""
    for number in ENDING:
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, _received)


def _received(number: int, _frame: object) -> None:
    if _State.held:
        _State.came = _State.came or number
        return
    ignore()
    raise Interrupted(number)


def ignore() -> None:
    """Let nothing interrupt what follows. SIG_IGN would make Python complain of signals that came a moment before."""
    handle(lambda _number, _frame: None)


def handle(action: Any) -> None:
    """Set what all these signals do."""
    for number in ENDING:
        _signal.signal(number, action)


def hold() -> None:
    """Put signals off until `release`: what follows is done as a whole."""
    _State.held = True


def held() -> int:
    """Return the signal that came since `hold`, 0 for none."""
    return _State.came


def release() -> None:
    """Raise Interrupted for a signal that was put off, and for those to come."""
    _State.held = False
    if _State.came:
        ignore()
        raise Interrupted(_State.came)


def fork() -> int:
    """fork(2). In the child signals have their default actions: Interrupted, raised there, would undo our work."""
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ENDING)
    pid = -1
    try:
        pid = os.fork()
        if not pid:
            handle(_signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)  # raises what came meanwhile
    except BaseException:
        if pid > 0:  # no caller ever gets its pid: it would go on unseen
            kill_child(pid)
        raise
    return pid


def kill_child(pid: int) -> None:
    """Kill a child of ours with SIGKILL, and collect it.

    Who traces it has to collect it first, ptrace(2): what somebody in a container holds so is left to our parent.
    """
    os.kill(pid, _signal.SIGKILL)
    deadline = time.monotonic() + COLLECT_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < deadline:
        time.sleep(0.0005)


def exit_status(status: int) -> int:
    """Return a shell's exit status for a wait status: 128 and the number of the signal that ended it."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
