"""Processes of a jail: who they are, since when, and how all of them get a signal.

See kill(2), and sysctl(3) for kern.proc.
"""

from __future__ import annotations

import errno
import os
import time

from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.freebsd.libc import PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE, Libc
from runjail.host.freebsd.structs import SSTOP, SZOMB, Proc

SIGKILL, SIGSTOP, SIGCONT = 9, 17, 19
KILL_ROUNDS = 1000  # a millisecond each: who forks faster than we kill is left to jail_remove(2)
FREEZE_ROUNDS = 20
HELPERS = 5  # tries to send a signal from inside before another killer of the same jail hits our helper
HELPER_SECONDS = 10.0  # a helper takes one at most (KILL_ROUNDS)
LAST_KERNEL_PID = 100  # kernel processes that start with the kernel have lower numbers
BUSY = "they do not die, or this runjail is traced itself, by ktrace -i or truss -f"
LASTING = ("pagedaemon", "bufdaemon", "vnlru", "syncer")  # those that never end, in the order of their start


def boot_id(libc: Libc) -> str:
    """Return a text that differs between two boots.

    kern.boottime alone will not do: setting the clock moves it, which would make every running container look like
    one from before a reboot. Its distance from the start of the kernel's own processes is fixed, to the microsecond.
    """
    since = libc.boottime()
    starts = []
    for pid in range(2, LAST_KERNEL_PID):
        proc = libc.process(pid)
        if proc and proc.command in LASTING:
            starts.append(str(proc.start - since))
            if proc.command == LASTING[-1]:
                return "kernel " + " ".join(starts)
    return f"boottime {since}"  # inside a jail, where nobody sets the clock


def start_time(libc: Libc, pid: int) -> str:
    """Return the microseconds between boot and fork as text, "" when there is no such process or it is a zombie.

    kinfo_proc adds the boot time to what the kernel stores, so both move together when the clock is set.
    """
    proc = libc.process(pid)
    return str(proc.start - libc.boottime()) if proc and proc.state != SZOMB else ""


def find_jail(libc: Libc, name: str, path: str, jid: int = 0) -> int:
    """Return the jid of the live jail with this name and root directory, 0 when there is none.

    A jid or a name alone may belong to somebody else by now. No name: there never was one.
    """
    prison = libc.jail(jid or name) if jid or name else None
    is_same = prison and prison.name == name and prison.path == os.path.realpath(path)
    return prison.jid if prison and is_same else 0


def members(libc: Libc, host_state: HostState) -> list[Proc]:
    """Return the live processes of the jail and of its child jails, and init while it is still outside."""
    jid = find_jail(libc, host_state.name, host_state.root, host_state.jid)
    inside = {jid} if jid else set()
    if jid:
        inside |= {prison.jid for prison in libc.jails() if prison.name.startswith(f"{host_state.name}.")}
    living = [proc for proc in libc.processes() if proc.state != SZOMB]
    init = (host_state.pid, int(host_state.started) + libc.boottime()) if host_state.started else None
    return [proc for proc in living if proc.jid in inside or (proc.pid, proc.start) == init]


def kill(libc: Libc, pid: int, since: str, signal: int) -> bool:
    """Signal a process that was forked at `since`. False when it is gone."""
    if not since or start_time(libc, pid) != since:
        return False
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return False
    return True


def kill_all(libc: Libc, host_state: HostState, signal: int) -> None:
    """Signal every process of the container; SIGKILL is repeated until nobody is left.

    Raises HostError when that does not come to an end.
    """
    init = libc.process(host_state.pid) if host_state.pid else None
    jid = find_jail(libc, host_state.name, host_state.root, host_state.jid)
    if (not init or init.state == SZOMB) and not members(libc, host_state):
        return  # as after `kill`: a look at the processes costs less than the fork
    if init and init.jid == 0:  # parked before it entered, where no signal from inside reaches it
        kill(libc, host_state.pid, host_state.started, signal)
    for _ in range(HELPERS if jid else 0):
        status = os.waitstatus_to_exitcode(_from_inside(libc, jid, signal))
        if status == 0:
            return
        if status > 0:
            why = BUSY if status == errno.EBUSY else reason(OSError(status, os.strerror(status)))
            raise HostError(f"send signal {signal} to everybody in jail {host_state.name}: {why}")
    if jid:
        raise HostError(f"send signal {signal} to everybody in jail {host_state.name}: somebody kills who does it")


def _from_inside(libc: Libc, jid: int, signal: int) -> int:
    """Fork a process into the jail that signals everybody else there: kill(-1) needs no program of the image."""
    pid = os.fork()
    if not pid:
        status = errno.EIO
        try:
            status = _signal_everybody(libc, jid, signal)
        except OSError as error:
            status = error.errno or status
        finally:
            os._exit(status)
    deadline = time.monotonic() + HELPER_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:  # stopped from inside; a killed one is followed by another try
            os.kill(pid, SIGKILL)
            return os.waitpid(pid, 0)[1]
        time.sleep(0.0005)


def _signal_everybody(libc: Libc, jid: int, signal: int) -> int:
    """*child* Enter the jail and signal; returns an errno. No descriptor and no trace of the host goes along."""
    libc.procctl(PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE)
    os.closerange(0, 2**31 - 1)
    try:
        libc.jail_attach(jid)
    except OSError as error:
        return 0 if error.errno == errno.EINVAL else error.errno or errno.EIO  # EINVAL: the jail is gone or dying
    for _ in range(KILL_ROUNDS):
        try:
            os.kill(-1, signal)
        except ProcessLookupError:
            return 0
        if signal != SIGKILL:
            return 0
        time.sleep(0.001)
    return errno.EBUSY


def freeze(libc: Libc, host_state: HostState) -> None:
    """Stop everybody, again while there are newcomers; who sleeps in the kernel stops when it returns from there."""
    for _ in range(FREEZE_ROUNDS):
        kill_all(libc, host_state, SIGSTOP)
        if all(proc.state == SSTOP for proc in members(libc, host_state)):
            return
        time.sleep(0.005)
