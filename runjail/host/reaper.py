"""A process between us and a program that is not ours, which becomes the parent of its orphans.

A process that calls setsid(2) and forks twice is in no process group that we know and is no child of ours, so it would
outlive the time-out of a plugin or hook. As the reaper of all descendants (prctl(2) PR_SET_CHILD_SUBREAPER, procctl(2)
PROC_REAP_ACQUIRE) a process keeps them. It is one of its own, so that they never mix with our other children, and so
that what a hook may leave behind goes on to whoever would have got it without us.
"""

from __future__ import annotations

import _signal
import marshal
import os
import time

from runjail import signals
from runjail.errors import HostError, reason
from runjail.host.base import close_others
from runjail.target import this_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn, Protocol

    class Kernel(Protocol):
        """What it takes to keep descendants."""

        def adopt(self) -> None:
            """Become the parent of every orphan below this process. Raises OSError."""

        def kill_children(self) -> None:
            """Kill the children, or all descendants; nobody there is success. Raises OSError."""

    Ended = dict[str, Any]

SECONDS = 10.0  # for the killed to be gone
PAUSE = 0.001
BLOCK = 1 << 16


def supervise(run: Callable[[], object], leave: bool, keep: Iterable[int], kernel: Kernel | None = None) -> Ended:
    """Call `run` in a child that keeps all descendants, and return what it returns: programs.Result as a dict.

    Unless the program has succeeded and may `leave` processes, everybody whom it started is killed and collected first.
    keep: inheritable descriptors that the program gets. kernel: for tests.
    Raises what `run` does, OSError or HostError; HostError when the child was killed or a descendant does not die.
    """
    kernel = kernel or _kernel()
    parent_end, child_end = os.pipe()
    try:
        pid = signals.fork()
    except BaseException:
        os.close(parent_end)
        os.close(child_end)
        raise
    if not pid:
        _watch(run, leave, [child_end, *keep], kernel)
    os.close(child_end)
    outcome, _ = answer(pid, parent_end)
    if not outcome:
        raise HostError("the process that watches over a program was killed")
    return _opened(outcome)


def answer(pid: int, source: int) -> tuple[bytes, int]:
    """Return what a child of ours says, to the end of a pipe that is closed then, and its exit status.

    What interrupts us asks the child to end as well, with SIGTERM, and is raised once it has ended.
    """
    try:
        outcome = _read(source)
    except BaseException:
        os.kill(pid, _signal.SIGTERM)
        raise
    finally:
        os.close(source)
        status = _collect(pid)
    return outcome, status


def _kernel() -> Kernel:
    """Return this system's Kernel, chosen here: whoever starts programs has no host at hand."""
    if this_system().jails:
        from runjail.host.freebsd.reaper import FreeBSDReaper

        return FreeBSDReaper()
    from runjail.host.linux.reaper import LinuxReaper

    return LinuxReaper()


def _read(source: int) -> bytes:
    pieces = []
    while piece := os.read(source, BLOCK):
        pieces.append(piece)
    return b"".join(pieces)


def _collect(pid: int) -> int:
    try:
        return signals.exit_status(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored
        return 0


def _opened(outcome: bytes) -> Ended:
    error, value = marshal.loads(outcome)
    if error == "OSError":
        raise OSError(*value)
    if error:
        raise HostError(value)
    ended: Ended = value
    return ended


# -- the child -----------------------------------------------------------------------------------------------------


def _watch(run: Callable[[], object], leave: bool, keep: list[int], kernel: Kernel) -> NoReturn:
    """Be the reaper, in a group of its own. It lets go of what is open, or who waits for our parent waits for it."""
    try:
        os.setpgid(0, 0)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.signal(_signal.SIGTERM, _stop)
        out = keep[0]
        os.set_inheritable(out, False)
        close_others(keep)
        os.closerange(0, 3)
        outcome = _outcome(run, kernel)
        if outcome is None or not leave or _failed(*outcome):
            outcome = _end_everybody(kernel) or outcome
        if outcome:
            _write(out, marshal.dumps(outcome))
    finally:
        os._exit(0)


def _stop(_number: int, _frame: object) -> None:
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    raise KeyboardInterrupt


def _outcome(run: Callable[[], object], kernel: Kernel) -> tuple[str, Any] | None:
    """Return ("", result) or (class of error, its arguments); None when our parent was interrupted."""
    try:
        try:
            kernel.adopt()
            found: tuple[str, Any] = ("", run())
        except OSError as error:
            found = ("OSError", (error.errno, error.strerror, error.filename))
        except HostError as error:
            found = ("HostError", str(error))
        _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    except KeyboardInterrupt:
        return None
    return found


def _failed(error: str, value: Any) -> bool:
    return bool(error or value["status"] or value["timed_out"])


def _end_everybody(kernel: Kernel) -> tuple[str, str] | None:
    """Kill until nobody is left: whoever forks meanwhile leaves its child to us. Returns an error, None for success."""
    deadline = time.monotonic() + SECONDS
    while _have_children():
        if time.monotonic() > deadline:
            return "HostError", f"processes that a program has started survive SIGKILL for {SECONDS:g} s"
        try:
            kernel.kill_children()
        except OSError as error:
            return "HostError", f"ending the processes that a program has started: {reason(error)}"
        time.sleep(PAUSE)
    return None


def _have_children() -> bool:
    """Collect who has ended. False when nobody is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
