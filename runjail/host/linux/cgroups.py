"""Linux control groups, v1 and v2, as directories: made, joined, frozen, read and written."""

from __future__ import annotations

import errno
import os

from runjail import log
from runjail.errors import HostError, reason
from runjail.host.base import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Groups

TOP = "/sys/fs/cgroup"
CONTROLLERS = tuple(
    "memory cpu cpuacct cpuset pids freezer devices blkio io hugetlb net_cls net_prio rdma".split()
)  # of either version
HIERARCHIES = (*CONTROLLERS, "systemd")  # of v1: that of a name has no limits, and systemd in a container looks for it
# Containers that were made before we made these lack them
ADDED = ("blkio", "hugetlb", "net_cls", "net_prio", "rdma", "systemd")
MARK, MARK_OF_USER = "trusted.runjail", "user.runjail"  # extended attribute of the groups that we made
_mark: list[str] = []  # that of this process
_unified: dict[str, bool] = {}  # what was found below TOP: `create` asks 30 times
NO_MARKS = (errno.EOPNOTSUPP, errno.EPERM)  # groups of this kernel have no attributes, or not for this caller
MAKE_ROUNDS = 200


def unified() -> bool:
    """Say whether this machine has the one tree of cgroup v2; as it is once, so it stays until the machine stops."""
    if TOP not in _unified:
        _unified[TOP] = os.path.exists(f"{TOP}/cgroup.controllers")
    return _unified[TOP]


def directories(path: str) -> list[str]:
    """Return the directory of a control group in every hierarchy that is mounted here."""
    if unified():
        return [f"{TOP}/{path}"]
    return [f"{TOP}/{name}/{path}" for name in HIERARCHIES if is_mounted(name)]


def is_mounted(name: str) -> bool:
    """Say whether a v1 hierarchy is mounted here: who mounts them makes all directories first."""
    return os.path.exists(f"{TOP}/{name}/cgroup.procs")


def mounted(table: str = "/proc/self/mountinfo") -> list[str]:
    """Return the names of the directories where v1 hierarchies with our groups are mounted, in the order of mounting.

    Controllers that share one have a name of several words: `cpu,cpuacct` (proc(5), /proc/pid/mountinfo).
    """
    found = []
    with open(table, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            words = line.split()
            above, _, name = words[4].rpartition("/")
            if above == TOP and words[words.index("-") + 1] == "cgroup" and set(name.split(",")) & set(HIERARCHIES):
                found.append(name)
    return list(dict.fromkeys(found))


def _joined(path: str) -> list[str]:
    """Return the directories that a process of the container joins."""
    return [
        directory
        for directory in directories(path)
        if os.path.isdir(directory) or directory[len(TOP) + 1 :].partition("/")[0] not in ADDED
    ]


def missing(directory: str) -> list[str]:
    """Return what has to be made for a group to exist, from above."""
    parts: list[str] = []
    while not os.path.isdir(directory):
        parts.insert(0, directory)
        directory = os.path.dirname(directory)
    return parts


def make(directory: str) -> None:
    """Make a group and what is missing above it; others may make and remove the same parents at this moment."""
    for attempt in range(MAKE_ROUNDS):
        for path in missing(directory):
            try:
                _make_one(path)
            except FileNotFoundError:  # a parent was removed between our look and our mkdir
                if attempt == MAKE_ROUNDS - 1:
                    raise
                break
        else:
            return


def _make_one(path: str) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass
    else:
        set_mark(path, mark())
    _inherit(path)


def mark() -> str:
    """Return the attribute that this caller marks groups with: those of the class trusted are root's alone."""
    if not _mark:
        _mark.append(MARK_OF_USER if ordinary() else MARK)
    return _mark[0]


def set_mark(directory: str, name: str) -> None:
    """Mark a group, as far as that works: without, each container removes only the parents that it made itself."""
    try:
        os.setxattr(directory, name, b"")
    except OSError as error:
        if error.errno not in NO_MARKS:
            raise


def ordinary() -> bool:
    """Say whether a container may do without groups, as with runc: where the caller is not the host's root."""
    return os.geteuid() != 0 or in_user_namespace()


def _inherit(directory: str) -> None:
    """A new v1 cpuset is empty and takes no process; a v2 group has no controllers until its parent passes them on."""
    parent = os.path.dirname(directory)
    if directory.startswith(f"{TOP}/cpuset/"):
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not content(f"{directory}/{file}").strip():
                _inherit(parent)  # another runjail that makes it at this moment may not have done so yet
                write(f"{directory}/{file}", content(f"{parent}/{file}"))
    elif unified():
        for controller in content(f"{parent}/cgroup.controllers").split():
            if controller in CONTROLLERS:
                try:
                    write(f"{parent}/cgroup.subtree_control", f"+{controller}")
                except OSError as error:  # a parent with processes of its own passes nothing on
                    log.debug(f"control group {parent}: {controller}: {reason(error)}")


def join(path: str, pid: int) -> None:
    """Put a process into the group."""
    for directory in _joined(path):
        try:
            write(f"{directory}/cgroup.procs", str(pid))
        except OSError as error:
            raise HostError(f"joining control group {directory}: {reason(error)}") from error


def enter(path: str, optional: bool = False, groups: Groups = (), init: int = 0) -> None:
    """Put the calling process, which has one thread, into the group.

    On v1 through `tasks`: a thread that moves itself needs no grace period of the kernel's, which costs 10 ms.
    optional: a process of an ordinary user whose own group is not below the one that systemd gave stays outside, with
    a warning, as with `runc exec`. An init never does: the container would have no limits.
    groups: below that one (`exec --cgroup`). init: on v2 a group that passes controllers on takes no process; where
    init has moved to a group below, as systemd does, others follow it there, unless groups are named.
    """
    file = "cgroup.procs" if unified() else "tasks"
    for directory in _chosen(path, groups):
        try:
            write(f"{directory}/{file}", "0")
        except OSError as error:
            if init and not groups and unified() and error.errno == errno.EBUSY and _follow(init, path):
                continue
            if optional and not groups and ordinary() and isinstance(error, PermissionError):
                log.warning(f"the process is not in control group {path}, and not limited: {reason(error)}")
                continue
            raise HostError(f"joining control group {directory}: {reason(error)}") from error


def _chosen(path: str, groups: Groups) -> list[str]:
    """Return the directories that a process joins, those below where groups say so. Raises HostError."""
    named, directories = dict(groups), {_controller(directory): directory for directory in _joined(path)}
    unknown = [name for name in named if name and name not in directories]
    if unknown:
        raise HostError(f"--cgroup: unknown controller {unknown[0]}")
    below = {name: named.get(name, named.get("", "")) for name in directories}
    return [f"{directory}/{below[name]}".rstrip("/") for name, directory in directories.items()]


def _controller(directory: str) -> str:
    """Return in which hierarchy of v1 a directory is, "" on v2."""
    return "" if unified() else directory[len(TOP) + 1 :].partition("/")[0]


def _follow(init: int, path: str) -> bool:
    """Enter the group of a container's init on v2, if that is below the container's. Returns whether that worked."""
    words = content(f"/proc/{init}/cgroup").partition("0::/")[2].split("\n")
    if not words[0].startswith(f"{path}/"):
        return False
    try:
        write(f"{TOP}/{words[0]}/cgroup.procs", "0")
    except OSError as error:
        log.debug(f"joining the control group of init, {words[0]}: {reason(error)}")
        return False
    return True


def freeze(path: str, frozen: bool) -> bool:
    """Freeze or thaw the group. False when this machine has no freezer."""
    file, word = (
        ("cgroup.freeze", str(int(frozen))) if unified() else ("freezer.state", "FROZEN" if frozen else "THAWED")
    )
    target = f"{TOP}/{path}/{file}" if unified() else f"{TOP}/freezer/{path}/{file}"
    try:
        write(target, word)
    except OSError:
        return False
    return True


def thaw_all(path: str) -> None:
    """Thaw a group of v1 and those below it, which its processes may have made: what is frozen there does not die."""
    if unified():
        return
    for directory, _groups, files in os.walk(f"{TOP}/freezer/{path}"):
        if "freezer.state" in files and content(f"{directory}/freezer.state").strip() != "THAWED":
            try:
                write(f"{directory}/freezer.state", "THAWED")
            except OSError as error:  # removed meanwhile
                log.debug(f"control group {directory}: {reason(error)}")


def is_frozen(path: str) -> bool:
    """Say whether the group is frozen, or about to be."""
    if unified():
        return content(f"{TOP}/{path}/cgroup.freeze").strip() == "1"
    return content(f"{TOP}/freezer/{path}/freezer.state").strip() in ("FREEZING", "FROZEN")


def content(path: str) -> str:
    """Return what a control file says, "" when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    finally:
        os.close(descriptor)


def write(path: str, value: str) -> None:
    """Write to a file of the kernel's, below /sys or /proc: all at once, with one write(2)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
