"""Who belongs to a Linux container, and signals for all of them.

`start_time` is how the host tells processes apart: the start time of a pid, "" for none and for zombies.
"""

from __future__ import annotations

import _signal
import os
import time

from runjail.errors import HostError
from runjail.host.base import HostState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    StartTime = Callable[[int], str]

SIGKILL, SIGSTOP, SIGCONT = 9, 19, 18
KILL_ROUNDS = 200
KILL_PAUSE = 0.005  # seconds
PF_DYING, PENDING_SIGKILL = 0x404, 1 << 8  # PF_EXITING or PF_SIGNALED; SIGKILL as a bit


def kill(pid: int, expected: str, signal: int, start_time: StartTime) -> bool:
    """Signal the process whose start time is the expected one. False when it is gone, or the pid is another's."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not expected or start_time(pid) != expected:
            return False
        _signal.pidfd_send_signal(descriptor, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third on (proc_pid_stat(5)), none for who is gone.

    The second, the program's name, may be any bytes.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def is_dying(pid: int) -> bool:
    """Look at fields 9, flags of the kernel, and 31, pending signals."""
    fields = stat(pid)
    return not fields or bool(int(fields[9 - 3]) & PF_DYING or int(fields[31 - 3]) & PENDING_SIGKILL)


def kill_all(host_state: HostState, signal: int, start_time: StartTime) -> None:
    """Signal everybody; a KILL is repeated until nobody is left, since the killed may just have forked.

    The kernel kills a private pid namespace together with its init, so there nobody needs to be looked for. Who is
    frozen dies when it is thawed. Raises HostError when somebody survives.
    """
    for _ in range(KILL_ROUNDS if signal == SIGKILL else 1):
        alone = signal == SIGKILL and _is_private(host_state)
        pids = [host_state.pid] if alone else find(host_state, start_time)
        for pid in pids:
            kill(pid, host_state.started if pid == host_state.pid else start_time(pid), signal, start_time)
        if signal == SIGKILL and host_state.cgroup:
            from runjail.host.linux import cgroups

            cgroups.thaw_all(host_state.cgroup)
        if alone or not pids or signal != SIGKILL:
            return
        time.sleep(KILL_PAUSE)
    raise HostError(f"processes survive SIGKILL: {' '.join(map(str, find(host_state, start_time)))}")


def find(host_state: HostState, start_time: StartTime) -> list[int]:
    """Return the pids of the container's processes, sorted. Init is one, whether or not we may see what it is in.

    The kernel gives the number of a namespace that ended to the next one. A private pid namespace ends with its init;
    a mount namespace may outlive it, so who shares its number must have the container's root directory too.
    """
    init_lives = bool(host_state.pid and host_state.started) and start_time(host_state.pid) == host_state.started
    if not host_state.namespaces:
        return [host_state.pid] if init_lives else []
    init = {host_state.pid} if init_lives else set[int]()
    if not _is_private(host_state):
        sharing = (pid for pid in _all_pids() if _shares(host_state, pid, "mnt", start_time))
        return sorted(init.union(pid for pid in sharing if _has_root(pid, host_state)))
    return sorted(init.union(pid for pid in _all_pids() if _shares(host_state, pid, "pid", start_time))) if init else []


def hold(host_state: HostState, frozen: bool, start_time: StartTime) -> None:
    """Freeze or thaw the control group; without one that can, stop every process or let it go on."""
    from runjail.host.linux import cgroups

    if not (host_state.cgroup and cgroups.freeze(host_state.cgroup, frozen)):
        for pid in find(host_state, start_time):
            kill(pid, start_time(pid), SIGSTOP if frozen else SIGCONT, start_time)


def _is_private(host_state: HostState) -> bool:
    """Say whether the container has a pid namespace of its own, which ends with init."""
    own = host_state.namespaces.get("pid") != os.stat("/proc/self/ns/pid").st_ino
    return bool(host_state.namespaces) and own and bool(host_state.namespaces.get("first", 1))


def _shares(host_state: HostState, pid: int, kind: str, start_time: StartTime) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino == host_state.namespaces[kind] and start_time(pid) != ""
    except OSError:
        return False


def _all_pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _has_root(pid: int, host_state: HostState) -> bool:
    try:
        return os.stat(f"/proc/{pid}/root").st_ino == host_state.namespaces["root"]
    except OSError:
        return False
