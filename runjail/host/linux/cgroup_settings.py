"""A container's control group and its limits: which are written to which files.

Those of v1 are in cgroups(7), those of v2 in the kernel's cgroup-v2.rst; what is written is what runc writes.
Control groups that cannot be written are not an error: the Linux host is for development, often inside a container
itself. Then a warning names what is not enforced. Where they can, a limit for which the kernel has no file is one.
"""

from __future__ import annotations

import errno
import os

from runjail import log
from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.linux import cgroup_users, cgroups, devices
from runjail.host.linux.change import Change
from runjail.spec.model import Resources
from runjail.steps import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import UndoLog

Setting = tuple[str, str, str]  # controller, file, value
BFQ = {  # kernels have one or the other
    "blkio.weight": "blkio.bfq.weight",
    "blkio.weight_device": "blkio.bfq.weight_device",
    "io.weight": "io.bfq.weight",
}
BURSTS = ("cpu.cfs_burst_us", "cpu.max.burst")
NO_LIMIT = ("-1", "max")
PLACES = {  # in linux.resources, by controller
    "memory": "memory", "cpu": "cpu", "cpuset": "cpu", "pids": "pids", "blkio": "blockIO", "io": "blockIO",
    "hugetlb": "hugepageLimits", "rdma": "rdma", "net_cls": "network.classID", "net_prio": "network.priorities",
    "unified": "unified",
}  # fmt: skip
THROTTLE = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def apply(change: Change, step: Cgroup) -> None:
    """Perform the step of `create` and `update`. A unit of systemd's is told first of limits that it keeps itself."""
    host_state = change.host_state
    joined = host_state.cgroup
    if host_state.scope.get("unit"):
        from runjail.host.linux import scope_limits

        step = step.replace(resources=scope_limits.update(step.resources, host_state))
    create(step, host_state, change.note)
    if host_state.pid and host_state.cgroup and not joined:  # `update` gave a running container its first limits
        for pid in change.processes(host_state):
            cgroups.join(host_state.cgroup, pid)


def create(step: Cgroup, host_state: HostState, note: UndoLog) -> None:
    """Make the group where it is missing, then set its limits and the policy for devices. Raises HostError.

    Where root cannot write control groups, as in many containers, limits are warned of: callers send some each time.
    """
    wanted = settings(step.resources, cgroups.unified())
    if not host_state.cgroup:
        path = _unused(step.path) if step.own else step.path
        directories = cgroups.directories(path)
        made = [above for directory in directories for above in cgroups.missing(directory)]
        user = cgroup_users.number()
        note({"undo": "cgroup", "path": path, "made": made, "user": user})
        try:
            cgroup_users.make(directories, user)
        except OSError as error:
            names = ", ".join(file for _, file, _ in wanted)
            if names and cgroups.ordinary():  # as runc: no machine lets them be set, so nobody counts on that
                hint = "leave limits out of config.json, or have systemd make the group: --systemd-cgroup"
                raise HostError(f"{names}: control groups cannot be written ({reason(error)})", hint) from error
            lost = [f"not enforced: {names}"] * bool(names) + [devices.do_without(step.devices, host_state)]
            report = log.info if cgroups.ordinary() else log.warning
            report("; ".join([f"control groups cannot be written ({reason(error)})", *filter(None, lost)]))
            return
        if cgroups.is_frozen(path):  # a process that enters a frozen group stops before its program
            raise HostError(f"container's cgroup unexpectedly frozen: {path}")
        if not host_state.scope:  # which is made with the container's process in it
            _warn_of_others(path, made)
        host_state.cgroup = path
        devices.hold(step.devices, host_state)
    _check_usage(step.resources, host_state.cgroup)
    refused = [setting for setting in wanted if not _set(host_state.cgroup, *setting)]
    for setting in refused:  # while the one beside it had its old value: memory and swap, or quota and period in a pod
        _set(host_state.cgroup, *setting, again=True)


def _warn_of_others(path: str, made: list[str]) -> None:
    """Warn of processes in a group that was there before, as runc does: they share the container's limits."""
    before = [directory for directory in cgroups.directories(path) if directory not in made]
    found = {pid for directory in before for pid in cgroups.content(f"{directory}/cgroup.procs").split()}
    if found:
        log.warning(f"container's cgroup is not empty: {len(found)} process(es) found in {path}")


def _check_usage(resources: Resources, path: str) -> None:
    """Refuse a limit below what is in use now where that is asked for: it would end processes. Raises HostError."""
    limit = resources.memory_limit
    if not resources.check_before_update or limit is None or limit < 0:
        return
    file = f"{path}/memory.current" if cgroups.unified() else f"memory/{path}/memory.usage_in_bytes"
    usage = cgroups.content(f"{cgroups.TOP}/{file}").strip()
    if usage.isdecimal() and limit < int(usage):
        raise HostError(f"rejecting memory limit {limit} < usage {usage}")


def _unused(path: str) -> str:
    """Return a name that no group has: another state directory may have a container of this id."""
    name, number = path, 1
    while any(os.path.isdir(directory) for directory in cgroups.directories(name)):
        number += 1
        name = f"{path}-{number}"
    return name


def _set(path: str, controller: str, file: str, value: str, again: bool = False) -> bool:
    """Set a limit. False when the kernel finds the value invalid; the second time that is an error."""
    target = f"{cgroups.TOP}/{path}/{file}" if cgroups.unified() else f"{cgroups.TOP}/{controller}/{path}/{file}"
    try:
        cgroups.write(target, value)
    except FileNotFoundError:
        if file in BFQ:
            return _set(path, controller, BFQ[file], _of_bfq(value) if file == "io.weight" else value, again)
        _lack(controller, file, value)
    except OSError as error:
        if error.errno == errno.EINVAL and not again:
            return False
        raise HostError(f"setting {file} to {value}: {reason(error)}") from error
    return True


def _lack(controller: str, file: str, value: str) -> None:
    """Say what a limit is that these control groups do not have. Raises HostError but for what takes no limit less.

    As runc does: who asks for a limit counts on it. Without a file for it nothing is limited, and nothing may exceed
    its quota for a while.
    """
    words = f"{file} (no such file in this kernel's control groups)"
    if file in BURSTS:
        log.warning(f"not enforced: {words}")
    elif value not in NO_LIMIT:
        raise HostError(f"linux.resources.{PLACES[controller]}: cannot be enforced: {words}")


def settings(resources: Resources, unified: bool) -> list[Setting]:
    """Return what is to be written, in an order that the kernel accepts. Raises HostError for what v1 does not have."""
    if not unified:
        return _of_v1(resources)
    if lost := _only_of_v1(resources):
        log.warning(f"not enforced: {', '.join(lost)} (control groups v2 have no such thing)")
    return _of_v2(resources)


def _only_of_v1(resources: Resources) -> list[str]:
    """Return what is asked for and only control groups v1 have, by its place in linux.resources."""
    asked = {
        "memory.swappiness": resources.swappiness is not None,
        "memory.disableOOMKiller": resources.oom_killer_off,
        "cpu.realtimePeriod": resources.realtime_period is not None,
        "cpu.realtimeRuntime": resources.realtime_runtime is not None,
        "blockIO.leafWeight": any(limit.kind == "leaf_weight" for limit in resources.block),
        "network.classID": resources.class_id is not None,
        "network.priorities": bool(resources.priorities),
    }
    return [place for place, value in asked.items() if value]


def _of_v1(resources: Resources) -> list[Setting]:
    if resources.unified:
        raise HostError("linux.resources.unified: cannot be used on cgroup v1")
    rows: list[tuple[str, str, int | str | None]] = [
        ("memory", "memory.limit_in_bytes", resources.memory_limit),
        ("memory", "memory.memsw.limit_in_bytes", _swap(resources)),
        ("memory", "memory.soft_limit_in_bytes", resources.memory_reservation),
        ("memory", "memory.swappiness", resources.swappiness),
        ("memory", "memory.oom_control", 1 if resources.oom_killer_off else None),
        ("cpu", "cpu.shares", resources.cpu_shares),
        ("cpu", "cpu.idle", resources.cpu_idle),
        ("cpu", "cpu.cfs_period_us", resources.cpu_period),
        ("cpu", "cpu.cfs_quota_us", resources.cpu_quota),
        ("cpu", "cpu.cfs_burst_us", resources.cpu_burst),
        ("cpu", "cpu.rt_period_us", resources.realtime_period),
        ("cpu", "cpu.rt_runtime_us", resources.realtime_runtime),
        ("cpuset", "cpuset.cpus", resources.cpus),
        ("cpuset", "cpuset.mems", resources.mems),
        ("pids", "pids.max", _processes(resources.pids_limit)),
        *(("hugetlb", f"hugetlb.{size}.limit_in_bytes", limit) for size, limit in resources.hugepages),
        *_block_of_v1(resources),
        ("net_cls", "net_cls.classid", resources.class_id),
        *(("net_prio", "net_prio.ifpriomap", f"{name} {number}") for name, number in resources.priorities),
        *_rdma(resources),
    ]
    return [(controller, file, str(value)) for controller, file, value in rows if value not in (None, "")]


def _of_v2(resources: Resources) -> list[Setting]:
    quota, period = resources.cpu_quota, resources.cpu_period
    swap = _swap(resources)
    if swap is not None and swap > 0 and resources.memory_limit is not None:
        swap = max(swap - resources.memory_limit, 0)  # v1 counts memory and swap together, v2 swap alone
    maximum = None if quota is None and period is None else f"{_maximum(quota) or 'max'} {period or 100000}"
    shares = min(max(resources.cpu_shares, 2), 262144) if resources.cpu_shares else 0  # as v1 does
    rows: list[tuple[str, str, int | str | None]] = [
        ("memory", "memory.max", _maximum(resources.memory_limit)),
        ("memory", "memory.swap.max", _maximum(swap)),
        ("memory", "memory.low", _maximum(resources.memory_reservation)),
        ("cpu", "cpu.idle", resources.cpu_idle),
        ("cpu", "cpu.max", maximum),
        ("cpu", "cpu.max.burst", resources.cpu_burst),
        ("cpu", "cpu.weight", str(1 + (shares - 2) * 9999 // 262142) if shares else None),
        ("cpuset", "cpuset.cpus", resources.cpus),
        ("cpuset", "cpuset.mems", resources.mems),
        ("pids", "pids.max", _processes(resources.pids_limit)),
        *(("hugetlb", f"hugetlb.{size}.max", limit) for size, limit in resources.hugepages),
        *_block_of_v2(resources),
        *_rdma(resources),
        # Last: the caller names these files itself, so they win over what is derived from other fields.
        *(("unified", file, value) for file, value in resources.unified),
    ]
    return [(controller, file, str(value)) for controller, file, value in rows if value not in (None, "")]


def _block_of_v1(resources: Resources) -> list[Setting]:
    found = []
    for limit in resources.block:
        if limit.kind in THROTTLE:
            file, value = f"blkio.throttle.{THROTTLE[limit.kind]}_device", f"{limit.device} {limit.value}"
        elif limit.device:
            file, value = f"blkio.{limit.kind}_device", f"{limit.device} {limit.value}"
        else:
            file, value = f"blkio.{limit.kind}", str(limit.value)
        found.append(("blkio", file, value))
    return found


def _block_of_v2(resources: Resources) -> list[Setting]:
    """Return io.max and io.weight; v1's weights of 10 to 1000 become v2's of 1 to 10000. v2 knows no leaf weights."""
    found = []
    for limit in resources.block:
        if limit.kind in THROTTLE:
            found.append(("io", "io.max", f"{limit.device} {limit.kind}={limit.value or 'max'}"))
        elif limit.kind == "weight":
            weight = 1 + (limit.value - 10) * 9999 // 990
            found.append(("io", "io.weight", f"{limit.device or 'default'} {weight}"))
    return found


def _of_bfq(value: str) -> str:
    """Return a line of io.weight as io.bfq.weight has it: with the weight of 10 to 1000 that was asked for."""
    device, weight = value.split()
    return f"{device} {10 + -((1 - int(weight)) * 990 // 9999)}"


def _rdma(resources: Resources) -> list[Setting]:
    found = []
    for device, handles, objects in resources.rdma:
        words = [f"hca_handle={handles}"] * (handles is not None) + [f"hca_object={objects}"] * (objects is not None)
        found.append(("rdma", "rdma.max", " ".join((device, *words))))
    return found


def _swap(resources: Resources) -> int | None:
    """Return the limit of memory and swap together; without one for memory, an old one would still hold memory."""
    return -1 if resources.memory_limit == -1 and resources.memory_swap is None else resources.memory_swap


def _maximum(value: int | None) -> str | None:
    return None if value is None else "max" if value < 0 else str(value)


def _processes(limit: int | None) -> str | None:
    """Return what pids.max is to say; 1 for 0, which is the same for who is in there, as runc and systemd have it."""
    return _maximum(1 if limit == 0 else limit)
