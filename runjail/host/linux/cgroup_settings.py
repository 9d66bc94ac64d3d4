"""Which limits are written to which files of a control group, v1 (cgroups(7)) and v2 (cgroup-v2.rst), as runc does."""

from __future__ import annotations

from runjail.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Resources

Setting = tuple[str, str, str]  # controller, file, value
THROTTLE = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


def settings(resources: Resources, unified: bool) -> list[Setting]:
    """Return what is to be written, in an order that the kernel accepts. Raises HostError for what v1 does not have."""
    return _of_v2(resources) if unified else _of_v1(resources)


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
        ("pids", "pids.max", _maximum(resources.pids_limit)),
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
        ("pids", "pids.max", _maximum(resources.pids_limit)),
        *(("hugetlb", f"hugetlb.{size}.max", limit) for size, limit in resources.hugepages),
        *_block_of_v2(resources),
        *_rdma(resources),
        *(("unified", file, value) for file, value in resources.unified),  # last: it is the caller's last word
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
