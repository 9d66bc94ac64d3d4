"""What containerd's metrics have beyond runc's stats document.

These are events of memory, RDMA, names of devices, and swap on v2.
"""

from __future__ import annotations

import os

from runjail.host.linux import cgroups, oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.host.base import HostState

NO_LIMIT = 2**64 - 1
NO_RDMA_LIMIT = 2**32 - 1


def more_usage(host_state: HostState) -> dict[str, Any]:
    """Return the numbers: ShimHost.more_usage (host/base.py)."""
    unified, path = cgroups.unified(), host_state.cgroup
    found: dict[str, Any] = {
        "unified": unified,
        "memory_events": oom.counts(oom.file(host_state)) if path else {},
        "devices": _devices(),
        "rdma": _rdma(f"{cgroups.TOP}/{path}" if unified else f"{cgroups.TOP}/rdma/{path}") if path else None,
    }
    if unified:
        directory = f"{cgroups.TOP}/{path}"
        found["swap"] = {name: _amount(f"{directory}/memory.swap.{name}") for name in ("current", "max", "peak")}
        found["hugetlb"] = _huge_limits(directory) if path else {}
    return found


def _devices() -> dict[str, str]:
    """Return the names of block devices by their numbers, as `254:0` (proc_diskstats(5))."""
    rows = (line.split() for line in cgroups.content("/proc/diskstats").splitlines())
    return {f"{row[0]}:{row[1]}": f"/dev/{row[2]}" for row in rows}


def _rdma(directory: str) -> dict[str, Any] | None:
    """Return rdma.current and rdma.max, lines such as `mlx4_0 hca_handle=2 hca_object=max`; None without them."""
    if not os.path.exists(f"{directory}/rdma.current"):
        return None
    return {"current": _rdma_entries(f"{directory}/rdma.current"), "limit": _rdma_entries(f"{directory}/rdma.max")}


def _rdma_entries(file: str) -> list[dict[str, Any]]:
    entries = []
    for line in cgroups.content(file).splitlines():
        device, *items = line.split()
        values = dict(item.split("=", 1) for item in items)
        numbers = {name: NO_RDMA_LIMIT if value == "max" else int(value) for name, value in values.items()}
        entry = {"hca_handles": numbers.get("hca_handle", 0), "hca_objects": numbers.get("hca_object", 0)}
        entries.append({"device": device, **entry})
    return entries


def _huge_limits(directory: str) -> dict[str, int]:
    """Return the limit of each size of huge pages, as `2MB`."""
    names = [name for name in os.listdir(directory) if name.startswith("hugetlb.") and name.endswith("B.max")]
    return {name.split(".")[1]: _amount(f"{directory}/{name}") for name in names}


def _amount(file: str) -> int:
    text = cgroups.content(file).strip()
    return NO_LIMIT if text == "max" else int(text or 0)
