"""What a child does on its way into a jail.

Nothing is imported here after jail_attach(2): see host.py.
"""

from __future__ import annotations

import _struct
import errno
import fcntl
import os
import stat

from runjail.errors import HostError, reason
from runjail.host.base import HostState, close_others
from runjail.host.child import set_ids, set_rlimits
from runjail.host.freebsd.libc import (
    PROC_NO_NEW_PRIVS_CTL,
    PROC_NO_NEW_PRIVS_ENABLE,
    PROC_TRACE_CTL,
    PROC_TRACE_CTL_DISABLE,
    Libc,
)
from runjail.host.freebsd.processes import find_jail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Process

# sys/resource.h; Python knows most of them by name, but not all, and only on FreeBSD.
RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_MEMLOCK": 6, "RLIMIT_NPROC": 7, "RLIMIT_NOFILE": 8, "RLIMIT_SBSIZE": 9, "RLIMIT_VMEM": 10, "RLIMIT_AS": 10,
    "RLIMIT_NPTS": 11, "RLIMIT_SWAP": 12, "RLIMIT_KQUEUES": 13, "RLIMIT_UMTXP": 14, "RLIMIT_PIPEBUF": 15,
}  # fmt: skip

TRACED_HINT = "trace without descendants: ktrace(1) without -i, truss(1) without -f"


def _forbid_tracing(libc: Libc, host_state: HostState) -> None:
    try:
        libc.procctl(PROC_TRACE_CTL, PROC_TRACE_CTL_DISABLE)
    except OSError as error:
        why, hint = reason(error), None
        if error.errno == errno.EBUSY:
            why, hint = "it is traced, and would show the container what is the host's", TRACED_HINT
        raise HostError(f"forbid tracing of the process that enters jail {host_state.name}: {why}", hint) from error


def enter_root(libc: Libc, host_state: HostState, keep: list[int]) -> None:
    """Enter the jail for good, with descriptors 0 to 2 and those in `keep`.

    Before anything of the container can see us, tracing is forbidden (it is allowed again at execve) and every other
    descriptor closed. Raises HostError, also when a kept descriptor is a directory: it would be a way out.
    """
    _forbid_tracing(libc, host_state)
    close_others(keep)
    for descriptor in (0, 1, 2, *keep):
        if _is_directory(descriptor):
            raise HostError(
                f"enter jail {host_state.name}: descriptor {descriptor} is a directory, which leads out of it"
            )
    jid = find_jail(libc, host_state.name, host_state.root, host_state.jid)
    if not jid:
        raise HostError(f"enter jail {host_state.name}: it is gone")
    _leave_groups()
    try:
        libc.jail_attach(jid)
    except OSError as error:
        why = "it is gone" if error.errno == errno.EINVAL else reason(error)
        raise HostError(f"enter jail {host_state.name}: {why}") from error
    os.chdir("/")


def _leave_groups() -> None:
    """Keep the primary group alone. In a jail without allow.suser nobody can change groups any more."""
    try:
        os.setgroups([os.getegid()])
    except OSError:  # who may not may not enter either
        pass


def _is_directory(descriptor: int) -> bool:
    try:
        return stat.S_ISDIR(os.fstat(descriptor).st_mode)
    except OSError:  # closed
        return False


def apply_credentials(libc: Libc, process: Process) -> None:
    """Take on the process's limits and ids. Capabilities and oomScoreAdj mean nothing here."""
    set_rlimits(process.rlimits, RLIMITS)
    if process.no_new_privileges:
        libc.procctl(PROC_NO_NEW_PRIVS_CTL, PROC_NO_NEW_PRIVS_ENABLE)
    set_ids(process.user, effective_first=True)


def open_console(libc: Libc, process: Process) -> tuple[int, int]:
    """Return (master, slave) of a new terminal, owned by the process's user and of its console size.

    It is opened before the jail is entered: one made inside would keep the dying jail alive while somebody holds it.
    """
    slave = -1
    master = -1
    try:
        master, path = libc.open_terminal()
        slave = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        os.fchown(slave, process.user.uid, -1)
        if process.console_size:
            rows, columns = process.console_size
            import termios  # only terminals pay for it

            fcntl.ioctl(slave, termios.TIOCSWINSZ, _struct.pack("HHHH", rows, columns, 0, 0))
    except OSError as error:
        for descriptor in (master, slave):
            if descriptor >= 0:
                os.close(descriptor)
        raise HostError(f"open a terminal: {reason(error)}") from error
    return master, slave
