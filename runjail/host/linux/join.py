"""How a process comes into a container that runs, and what is seen of it there.

Who shares a pid namespace with a process finds its root directory, descriptors and environment in /proc, as far as the
kernel lets it: with the same user id when the process is dumpable (prctl(2)), always with CAP_SYS_PTRACE, which also
makes the process do whatever its privileges allow. So a joining process first joins all other namespaces, closes what
is the host's, and takes on its final identity. setns(2) puts only children into a pid namespace: the last step is a
fork, by clone(2) with CLONE_PARENT, so that the new process is the child of whoever forked the old one.
"""

from __future__ import annotations

import errno
import os

from runjail import log
from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FLAGS = {
    "mnt": libc.CLONE_NEWNS,
    "uts": libc.CLONE_NEWUTS,
    "ipc": libc.CLONE_NEWIPC,
    "net": libc.CLONE_NEWNET,
    "pid": libc.CLONE_NEWPID,
    "cgroup": libc.CLONE_NEWCGROUP,
    "time": libc.CLONE_NEWTIME,
    "user": libc.CLONE_NEWUSER,
}
SPEC_NAMES = {"network": "net", "mount": "mnt"}
SCHED_SETAFFINITY = {"x86_64": 203, "aarch64": 122, "riscv64": 122}
EVERY_CPU = b"\xff" * 1024  # more than any kernel is built for
ENV_START, ENV_END = 49, 50  # fields of /proc/PID/stat (proc_pid_stat(5)), counted from 0


def flag(kind: str) -> int:
    """Return the CLONE_ flag of a kind of namespace, by its name in config.json."""
    return FLAGS[SPEC_NAMES.get(kind, kind)]


def inode(kind: str) -> int:
    """Return which namespace of a kind we are in. kind: as config.json has it."""
    return os.stat(f"/proc/thread-self/ns/{SPEC_NAMES.get(kind, kind)}").st_ino


def enter(path: str, kind: str) -> None:
    """Join one namespace by its path. kind: as config.json has it."""
    descriptor = open_one(path, kind)
    try:
        libc.setns(descriptor, flag(kind))
    except OSError as error:
        raise HostError(f"joining the {kind} namespace {path}: {reason(error)}") from error
    finally:
        os.close(descriptor)


def open_one(path: str, kind: str) -> int:
    """Open a namespace by its path."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"joining the {kind} namespace {path}: {reason(error)}") from error


def record(host_state: HostState, user: bool) -> None:
    """Record what init is in; see Host.record_namespaces. user: whether it has a user namespace."""
    place = f"/proc/{host_state.pid or 'self'}"
    try:
        numbers = _read(f"{place}/status").partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
        first = int(numbers[-1:] == [b"1"])  # in a namespace that it has joined its end is nobody else's
        if host_state.pid and is_hidden(host_state.pid):  # the rest it has recorded itself
            host_state.namespaces["first"] = first
            return
        found = {kind: os.stat(f"{place}/ns/{kind}").st_ino for kind in ("cgroup", "ipc", "uts", "net", "pid", "mnt")}
        if os.path.exists("/proc/self/ns/time"):  # since Linux 5.6
            found["time"] = os.stat(f"{place}/ns/time").st_ino
        if user:
            found["user"] = os.stat(f"{place}/ns/user").st_ino
    except (FileNotFoundError, ProcessLookupError):  # it died: of what, it has said over its link
        return
    host_state.namespaces = {"root": os.stat(host_state.root).st_ino, "first": first, **found}


def hand_out(host_state: HostState, pids: int) -> dict[str, int]:
    """Open our own namespaces, for who may not look at us once we are confined. What we shall be in is recorded.

    pids: the pid namespace that we shall appear in, open; -1 for the one that we are in.
    """
    kinds = [kind for kind in FLAGS if kind in host_state.namespaces and (kind != "pid" or pids < 0)]
    handles = {kind: open_one(f"/proc/self/ns/{kind}", kind) for kind in kinds}
    if pids >= 0:
        handles["pid"], host_state.namespaces["pid"] = pids, os.fstat(pids).st_ino
    return handles


def is_hidden(pid: int) -> bool:
    """Say whether the kernel does not let us see what a process is in: we may not trace it (ptrace(2))."""
    try:
        os.stat(f"/proc/{pid}/ns/mnt")
    except PermissionError:
        return True
    except OSError:  # it is gone, which is told later
        pass
    return False


def checked(handles: dict[str, int], host_state: HostState) -> dict[str, int]:
    """Return what init has handed over, which has to be what is recorded of it. Raises HostError."""
    for kind, descriptor in handles.items():
        if os.fstat(descriptor).st_ino != host_state.namespaces.get(kind):
            for other in handles.values():
                os.close(other)
            raise HostError(f"joining the {kind} namespace of the container: what init has handed over is another one")
    return handles


def open_others(host_state: HostState, kinds: tuple[str, ...], handles: dict[str, int]) -> list[tuple[int, int]]:
    """Open those namespaces of init that are not ours, each with its CLONE_ flag. handles: what init handed over."""
    opened = []
    for kind in kinds:
        if (
            kind in host_state.namespaces
            and host_state.namespaces[kind] != os.stat(f"/proc/thread-self/ns/{kind}").st_ino
        ):
            opened.append((handles[kind] if kind in handles else _open_of(host_state.pid, kind), FLAGS[kind]))
    return opened


def _open_of(pid: int, kind: str) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        hint = "who is not root can join a container only if its program can be read" if os.geteuid() else None
        raise HostError(f"joining the {kind} namespace of the container: {reason(error)}", hint) from error


def fork_first(fork: Callable[[], int]) -> int:
    """Fork pid 1 of a new pid namespace, and be in ours again for later children. Returns its pid, 0 in it.

    Coming back takes rights to ours. Who is root only in a user namespace, as podman's callers without root are, has
    none: there a child of ours makes the pid namespace.
    """
    from runjail.host.linux import rights  # which exec does not need

    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            libc.setns(own, libc.CLONE_NEWPID)
        except PermissionError:
            if rights.holds("CAP_SYS_ADMIN"):
                return _fork_by_child(fork)
        rights.ask("making a pid namespace", "unshare(2)", libc.unshare, libc.CLONE_NEWPID)
        pid = fork()
        if pid:
            libc.setns(own, libc.CLONE_NEWPID)
        return pid
    finally:
        os.close(own)


def _fork_by_child(fork: Callable[[], int]) -> int:
    reading, writing = os.pipe()
    child = fork()
    if not child:
        os.close(reading)
        try:
            libc.unshare(libc.CLONE_NEWPID)
            appear(lambda pid: _write(writing, b"%d" % pid))
            os.close(writing)
            return 0
        except BaseException:  # also what `appear` makes of an error: our creator's cleaning up is not for a copy of it
            os._exit(1)
    os.close(writing)
    answer = os.read(reading, 32)
    os.close(reading)
    os.waitpid(child, 0)
    if not answer:
        raise HostError("making a pid namespace: unshare(2) or clone(2) is refused")
    return int(answer)


def _write(descriptor: int, text: bytes) -> None:
    os.write(descriptor, text)


def free_cpus() -> None:
    """Let this process, which is in its control group, run on every CPU of that, whatever our caller may run on.

    sched_setaffinity(2) leaves out what the machine or the group has not, and remembers it should the group get more.
    Where it is refused, a warning says so, as with runc.
    """
    memory = libc.buffer(EVERY_CPU)
    try:
        libc.call(SCHED_SETAFFINITY, 0, len(EVERY_CPU), libc.address(memory))
    except OSError as error:
        log.warning(f"the container's processes run on its creator's CPUs only: sched_setaffinity(2): {reason(error)}")


def hide() -> None:
    """Make this process undumpable, and wipe the environment that it was started with: it is the host's."""
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    fields = _read("/proc/thread-self/stat").rpartition(b")")[2].split()  # qemu-user makes up a short /proc/self/stat
    start, end = int(fields[ENV_START - 2]), int(fields[ENV_END - 2])  # two fields end with the last parenthesis
    libc.wipe(start, end - start)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)


def appear(tell: Callable[[int], None]) -> None:
    """Return in a new process, in the pid namespace that was joined for children; ours tells its pid and ends.

    The new one ends as well when nobody was told of it: whoever waits for it would wait for ever.
    """
    reading, writing = os.pipe()
    try:
        pid = libc.clone_sibling()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise HostError(f"appearing in the pid namespace: clone(2) with CLONE_PARENT: {reason(error)}") from error
    if pid:
        tell(pid)
        os.write(writing, b"told")
        os._exit(0)
    os.close(writing)
    answer = os.read(reading, 4)
    os.close(reading)
    if not answer:
        os._exit(1)


def forget_keys() -> None:
    """Leave our caller's session keyring: its keys are not the container's."""
    try:
        libc.new_session_keyring()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # no keyrings, or a seccomp filter, which holds inside too
            raise HostError(f"making a session keyring: {reason(error)}") from error
