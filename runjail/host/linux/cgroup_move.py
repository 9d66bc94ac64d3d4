"""Moving a container to another control group, limits and all.

An NRI plugin's `cgroupsPath` asks for it.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host.linux import cgroup_users, devices
from runjail.host.linux import cgroups as cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import HostState, UndoLog

# In an order the kernel accepts for a group that has no limits
LIMITS = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"),
    "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "cpuset": ("cpuset.mems", "cpuset.cpus"),
    "pids": ("pids.max",),
}
LIMITS_V2 = (
    "memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.mems cpuset.cpus pids.max".split()
)  # fmt: skip
ROUNDS = 100  # of looking for processes that were forked while their parents were moved


def move(path: str, host_state: HostState, note: UndoLog, processes: Callable[[], list[int]]) -> None:
    """Make the group at `path` with the limits of the present one, and put every process of the container into it.

    A group that exists keeps its own limits, but takes on the container's device rules. The present group is left,
    empty, to `delete`. Raises HostError where other processes are in the group, above it or below it: to pause or limit
    one would be to pause or limit all.
    """
    _refuse_shared(path, set(processes()))
    directories = cgroup.directories(path)
    missing = [made for directory in directories for made in cgroup.missing(directory)]
    user = cgroup_users.number()
    note({"undo": "cgroup", "path": path, "made": missing, "user": user})
    try:
        cgroup_users.make(directories, user)
        for directory in directories:
            if directory in missing and host_state.cgroup:
                _copy(directory, directory.removesuffix(path) + host_state.cgroup)
        if host_state.devices.get("enforced"):
            devices.enforce(path, host_state.devices["allow"], host_state.devices["rules"])
        _join_all(path, processes)
    except OSError as error:
        raise HostError(f"moving to control group {path}: {reason(error)}") from error
    host_state.cgroup = path


def _refuse_shared(path: str, own: set[int]) -> None:
    for directory in cgroup.directories(path):
        above = [directory[: -len(rest)] for rest in _endings(path)]
        for place in (*above, *(found for found, _, _ in os.walk(directory))):
            if own.issuperset(map(int, cgroup.content(f"{place}/cgroup.procs").split())):
                continue
            raise HostError(f"moving to control group {path}: other processes are in {place}")


def _endings(path: str) -> list[str]:
    """Return what to cut off a group's directory to get those of the groups above it: "/c", "/b/c" of "a/b/c"."""
    names = path.split("/")
    return ["/" + "/".join(names[at:]) for at in range(1, len(names))]


def _copy(directory: str, source: str) -> None:
    controller = source.removeprefix(f"{cgroup.TOP}/").partition("/")[0]
    for file in LIMITS_V2 if cgroup.unified() else LIMITS.get(controller, ()):
        value = cgroup.content(f"{source}/{file}").strip()
        if value and value != cgroup.content(f"{directory}/{file}").strip():
            cgroup.write(f"{directory}/{file}", value)


def _join_all(path: str, processes: Callable[[], list[int]]) -> None:
    moved: set[int] = set()
    for _ in range(ROUNDS):
        staying = [pid for pid in processes() if pid not in moved]
        if not staying:
            return
        for pid in staying:
            for directory in cgroup.directories(path):
                _join(directory, pid)
        moved.update(staying)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _join(directory: str, pid: int) -> None:
    try:
        cgroup.write(f"{directory}/cgroup.procs", str(pid))
    except ProcessLookupError:  # it ended meanwhile
        pass
