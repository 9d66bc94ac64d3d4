"""Which right a refused system call lacks: hints where the kernel only says that it is not allowed."""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# capabilities(7); linux/capability.h has the numbers
CAPABILITIES = {"CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
USER_NAMESPACES = (
    "sysctl user.max_user_namespaces above 0; for ordinary users kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0"
)
PRIVILEGED = "in a container it takes docker run --privileged or the like"


def ask(doing: str, call: str, function: Callable[..., None], *arguments: object, remedy: str | None = None) -> None:
    """Make a system call that needs a privilege. Raises HostError naming that, and what would allow it (`refused`)."""
    try:
        function(*arguments)
    except OSError as error:
        raise refused(doing, call, error, remedy) from error


def refused(doing: str, call: str, error: OSError, remedy: str | None = None) -> HostError:
    """Return the error for a system call that the kernel refused, with what it would take.

    doing: what the call was for; call: as `unshare(2)`; remedy: what would allow it, where that is not CAP_SYS_ADMIN.
    """
    return HostError(f"{doing}: {call}: {reason(error)}", remedy or hint(error))


def hint(error: OSError, capability: str = "CAP_SYS_ADMIN") -> str | None:
    """Return what would allow a refused call, None when nobody forbade it."""
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return "the limit of namespaces may be used up: sysctl user.max_pid_namespaces and its like"
    if error.errno not in (errno.EPERM, errno.EACCES):
        return None
    if os.geteuid():
        return f"it takes {capability}: run it as root, or with a user namespace in config.json; {PRIVILEGED}"
    if not holds(capability):
        return f"it takes {capability}, which this root does not have: {PRIVILEGED}"
    return f"{capability} is there, so a seccomp filter or a security module refuses it: {PRIVILEGED}"


def holds(capability: str) -> bool:
    """Whether this process has a capability now."""
    with open("/proc/self/status", "rb") as file:
        lines = dict(line.split(b":\t", 1) for line in file.read().splitlines() if b":\t" in line)
    return bool(int(lines.get(b"CapEff", b"0"), 16) >> CAPABILITIES[capability] & 1)
