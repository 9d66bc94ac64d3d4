"""Who belongs to a Linux container, and signals for all of them.

`started` is how the host tells processes apart: the start time of a pid, "" for none and for zombies.
"""

import _signal
import os
import time

from runjail.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import Box

    Started = Callable[[int], str]

SIGKILL, SIGSTOP, SIGCONT = 9, 19, 18
KILL_ROUNDS = 200
KILL_PAUSE = 0.005  # seconds


def kill(pid: int, expected: str, signal: int, started: "Started") -> bool:
    """Signal the process whose start time is the expected one. False when it is gone, or the pid is another's."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not expected or started(pid) != expected:
            return False
        _signal.pidfd_send_signal(descriptor, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def kill_all(box: "Box", signal: int, started: "Started") -> None:
    """Signal everybody; a KILL is repeated until nobody is left, since the killed may just have forked.

    The kernel kills a private pid namespace together with its init, so there nobody needs to be looked for. Who is
    frozen dies when it is thawed. Raises HostError when somebody survives.
    """
    for _ in range(KILL_ROUNDS if signal == SIGKILL else 1):
        alone = signal == SIGKILL and _is_private(box)
        pids = [box.pid] if alone else find(box, started)
        for pid in pids:
            kill(pid, box.started if pid == box.pid else started(pid), signal, started)
        if signal == SIGKILL and box.cgroup:
            from runjail.host.linux import cgroups

            cgroups.thaw_all(box.cgroup)
        if alone or not pids or signal != SIGKILL:
            return
        time.sleep(KILL_PAUSE)
    raise HostError(f"processes survive SIGKILL: {' '.join(map(str, find(box, started)))}")


def find(box: "Box", started: "Started") -> list[int]:
    """Return the pids of the container's processes, sorted.

    The kernel gives the number of a namespace that ended to the next one. A private pid namespace ends with its init;
    a mount namespace may outlive it, so who shares its number must have the container's root directory too.
    """
    init_lives = bool(box.pid and box.started) and started(box.pid) == box.started
    if not box.namespaces:
        return [box.pid] if init_lives else []
    if not _is_private(box):
        return [pid for pid in _all_pids() if _shares(box, pid, "mnt", started) and _has_root(pid, box)]
    return [pid for pid in _all_pids() if _shares(box, pid, "pid", started)] if init_lives else []


def hold(box: "Box", frozen: bool, started: "Started") -> None:
    """Freeze or thaw the control group; without one that can, stop every process or let it go on."""
    from runjail.host.linux import cgroups

    if not (box.cgroup and cgroups.freeze(box.cgroup, frozen)):
        for pid in find(box, started):
            kill(pid, started(pid), SIGSTOP if frozen else SIGCONT, started)


def _is_private(box: "Box") -> bool:
    """Say whether init is the first of process numbers of its own, which end with it."""
    own = box.namespaces.get("pid") != os.stat("/proc/self/ns/pid").st_ino
    return bool(box.namespaces) and own and bool(box.namespaces.get("first", 1))


def _shares(box: "Box", pid: int, kind: str, started: "Started") -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino == box.namespaces[kind] and started(pid) != ""
    except OSError:
        return False


def _all_pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _has_root(pid: int, box: "Box") -> bool:
    try:
        return os.stat(f"/proc/{pid}/root").st_ino == box.namespaces["root"]
    except OSError:
        return False
