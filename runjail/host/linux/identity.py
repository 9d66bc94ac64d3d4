"""What a process becomes inside a Linux container: its limits, ids, capabilities and terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from _struct import pack

from runjail import log, rootfs
from runjail.errors import HostError, reason
from runjail.host import child as common
from runjail.host.base import HostState
from runjail.host.linux import libc
from runjail.spec.capabilities import NAMES as CAPABILITIES
from runjail.spec.model import Capabilities, Process, Rlimit

RLIMITS = {
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
} | {
    f"RLIMIT_{name}": getattr(resource, f"RLIMIT_{name}")
    for name in ("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS")
}
MOST_CAPABILITIES = 64  # bits of the kernel's sets
TIOCSWINSZ = 0x5414  # termios has it, which nothing else of `create` needs
TIOCGPTPEER = 0x5441
TIOCSPTLCK = 0x40045431


def raise_limits(rlimits: tuple[Rlimit, ...]) -> None:
    """Raise the hard limits that are to be higher: a user namespace has no right to it (prlimit(2)).

    What is refused here is refused again when they are set.
    """
    for rlimit in rlimits:
        number = RLIMITS.get(rlimit.type)
        if number is None:
            continue
        soft, hard = resource.getrlimit(number)
        wanted = common.limit(rlimit.hard)
        if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
            try:
                resource.setrlimit(number, (soft, wanted))
            except (OSError, ValueError) as error:
                log.debug(f"{rlimit.type}: {error}")


def apply_credentials(process: Process, groups: bool = True) -> None:
    """Take on what `process` says; bounding capabilities and limits need the privileges that the ids then take away.

    groups: False where the user namespace forbids to set them.
    """
    common.set_rlimits(process.rlimits, RLIMITS)
    wanted = process.capabilities or Capabilities()  # not named: none, whoever it runs as
    _drop_bounding(_mask(wanted.bounding))
    libc.prctl(libc.PR_SET_KEEPCAPS, 1)
    common.set_ids(process.user, groups=groups)
    _set_capabilities(wanted)
    if process.no_new_privileges:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)  # again: a change of ids sets it to fs.suid_dumpable


def without_mknod(process: Process) -> Process:
    """Return the process without CAP_MKNOD, which is gone for good from what this process may ever give."""
    libc.prctl(libc.PR_CAPBSET_DROP, CAPABILITIES.index("MKNOD"))
    sets = process.capabilities
    if not sets:
        return process
    kept = {
        kind: tuple(name for name in getattr(sets, kind) if name.removeprefix("CAP_") != "MKNOD")
        for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
    }
    return process.replace(capabilities=sets.replace(**kept))


def _mask(names: tuple[str, ...]) -> int:
    bits = 0
    for name in names:
        if name.removeprefix("CAP_") in CAPABILITIES:  # a name that Linux does not have cannot be given
            bits |= 1 << CAPABILITIES.index(name.removeprefix("CAP_"))
    return bits


def _drop_bounding(allowed: int) -> None:
    """Drop what is not allowed, also what kernels newer than our list have."""
    for number in range(MOST_CAPABILITIES):
        if allowed >> number & 1:
            continue
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:  # beyond this kernel's last capability
                break
            if _is_bounding(number):
                raise HostError(f"dropping capabilities: {reason(error)}", "that takes CAP_SETPCAP") from error


def _is_bounding(number: int) -> bool:
    try:
        return bool(libc.prctl(libc.PR_CAPBSET_READ, number))
    except OSError:  # this kernel has no such capability
        return False


def _set_capabilities(wanted: Capabilities) -> None:
    try:
        libc.capset(_mask(wanted.effective), _mask(wanted.permitted), _mask(wanted.inheritable))
    except OSError as error:
        raise HostError(f"setting capabilities: {reason(error)}") from error
    libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(len(CAPABILITIES)):
        if _mask(wanted.ambient) >> number & 1:
            try:
                libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_RAISE, number)
            except OSError:  # not permitted or not inheritable: ambient cannot exceed them, as runc warns
                continue


def open_console(process: Process, host_state: HostState, root: int = -1) -> tuple[int, int]:
    """Return (master, slave). The slave is taken from the master itself, never by a path inside the container.

    root: the container's, where init has handed it over.
    """
    master = _open_ptmx(host_state, root)
    fcntl.ioctl(master, TIOCSPTLCK, pack("i", 0))
    slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        os.fchown(slave, process.user.uid, -1)
    except PermissionError as error:  # of the host's devpts, whose group has no id in this user namespace
        log.debug(f"the terminal keeps its owner: {reason(error)}")
    if process.console_size:
        fcntl.ioctl(master, TIOCSWINSZ, pack("HHHH", *process.console_size, 0, 0))
    return master, slave


def _open_ptmx(host_state: HostState, handle: int) -> int:
    """Open the multiplexer of the container's devpts when it has one, else the host's."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    # Only init, which has no pid to itself, sees the container's mounts by their paths; exec sees them through init.
    path = f"/proc/{host_state.pid}/root/." if host_state.pid else host_state.root
    root = rootfs.open_root(path if handle < 0 else f"/proc/self/fd/{handle}/.")
    try:
        place = rootfs.resolve(root, "/dev/pts/ptmx")
        try:
            if os.stat(place.name, dir_fd=place.parent, follow_symlinks=False).st_rdev == os.makedev(5, 2):
                return os.open(place.name, flags | os.O_NOFOLLOW, dir_fd=place.parent)
        finally:
            place.close()
    except OSError:  # no devpts in there
        pass
    finally:
        os.close(root)
    return os.open("/dev/ptmx", flags)
