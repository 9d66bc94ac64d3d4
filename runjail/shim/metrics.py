"""A container's use of resources as containerd's clients read it: Metrics of its cgroups module.

v2 where control groups are v2, else v1, on every system: clients know both, and CRI takes the working set of memory
from either. What a system does not count is 0, or not there where a field is a list.
"""

from __future__ import annotations

from runjail import protobuf
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.protobuf import Message, Table

NO_LIMIT = 2**64 - 1
OTHER_NAMES = {  # of memory.stat on v1
    "pg_pg_in": "pgpgin",
    "pg_pg_out": "pgpgout",
    "pg_fault": "pgfault",
    "pg_maj_fault": "pgmajfault",
    "hierarchical_swap_limit": "hierarchical_memsw_limit",
}
BLKIO = {  # of runc's document: containerd's names
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
    "ioQueueRecursive": "io_queued_recursive",
    "ioServiceTimeRecursive": "io_service_time_recursive",
    "ioWaitTimeRecursive": "io_wait_time_recursive",
    "ioMergedRecursive": "io_merged_recursive",
    "ioTimeRecursive": "io_time_recursive",
    "sectorsRecursive": "sectors_recursive",
}
IO = {  # v2 has one entry a device
    ("ioServiceBytesRecursive", "Read"): "rbytes",
    ("ioServiceBytesRecursive", "Write"): "wbytes",
    ("ioServicedRecursive", "Read"): "rios",
    ("ioServicedRecursive", "Write"): "wios",
}


def metrics(usage: dict[str, Any], more: dict[str, Any]) -> Message:
    """Return google.protobuf.Any. usage: runc's stats document; more: what it lacks, as ShimHost.more_usage has it."""
    version, table = ("v2", messages.METRICS_V2) if more["unified"] else ("v1", messages.METRICS_V1)
    message = _v2(usage, more) if more["unified"] else _v1(usage, more)
    return {"type_url": f"io.containerd.cgroups.{version}.Metrics", "value": protobuf.encode(table, message)}


def _some(table: Table, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return those of some numbers that a message has fields for."""
    fields = {name for name, _kind in table.values()}
    return {name: value for name, value in numbers.items() if name in fields}


# v1 ---------------------------------------------------------------------------------------------------------------


def _v1(usage: dict[str, Any], more: dict[str, Any]) -> Message:
    cpu, memory = usage["cpu"], usage["memory"]
    held, spent = cpu["throttling"], cpu["usage"]
    return {
        "pids": usage["pids"],
        "cpu": {
            "usage": {**{name: spent.get(name, 0) for name in ("total", "kernel", "user")}, "per_cpu": spent["percpu"]},
            "throttling": {
                "periods": held.get("periods", 0),
                "throttled_periods": held.get("throttledPeriods", 0),
                "throttled_time": held.get("throttledTime", 0),
            },
        },
        "memory": _memory_v1(memory),
        "blkio": _blkio(usage["blkio"], more["devices"]),
        "hugetlb": [_some(messages.HUGETLB_V1, {**each, "pagesize": size}) for size, each in usage["hugetlb"].items()],
        "rdma": more["rdma"],
        "memory_oom_control": _some(messages.OOM_CONTROL, more["memory_events"]),
    }


def _memory_v1(memory: dict[str, Any]) -> Message:
    raw = {"rss": memory["raw"].get("memoryuse", 0), **memory["raw"]}  # FreeBSD: rctl(8)
    raw |= {f"total_{name}": raw.get(name, 0) for name in ("rss", "cache") if f"total_{name}" not in raw}
    names = [name for name, kind in messages.MEMORY_V1.values() if kind == "u"]
    numbers = {name: raw.get(_key(name), 0) for name in names}
    entries = {"usage": "usage", "swap": "swap", "kernel": "kernel", "kernelTCP": "kernel_tcp"}
    return {**numbers, **{name: _some(messages.MEMORY_ENTRY, memory[key]) for key, name in entries.items()}}


def _key(name: str) -> str:
    """Return what memory.stat calls a number."""
    if name.startswith("total_"):
        return "total_" + _key(name.removeprefix("total_"))
    return OTHER_NAMES.get(name, name)


def _blkio(tables: dict[str, Any], devices: dict[str, str]) -> Message:
    """Return the tables of v1. devices: names by numbers, as `254:0`."""
    return {
        BLKIO[table]: [{**each, "device": devices.get(f"{each['major']}:{each['minor']}", "")} for each in entries]
        for table, entries in tables.items()
        if table in BLKIO
    }


# v2 ---------------------------------------------------------------------------------------------------------------


def _v2(usage: dict[str, Any], more: dict[str, Any]) -> Message:
    cpu, pids = usage["cpu"], usage["pids"]
    held, spent = cpu["throttling"], cpu["usage"]
    return {
        "pids": {"current": pids["current"], "limit": pids["limit"] or NO_LIMIT},
        "cpu": {
            "usage_usec": spent["total"] // 1000,
            "user_usec": spent["user"] // 1000,
            "system_usec": spent["kernel"] // 1000,
            "nr_periods": held.get("periods", 0),
            "nr_throttled": held.get("throttledPeriods", 0),
            "throttled_usec": held.get("throttledTime", 0) // 1000,
            "psi": cpu.get("psi"),
        },
        "memory": _memory_v2(usage["memory"], more["swap"]),
        "rdma": more["rdma"],
        "io": {"usage": _io(usage["blkio"]), "psi": usage["blkio"].get("psi")},
        "hugetlb": [
            {"current": each["usage"], "max": more["hugetlb"].get(size, 0), "pagesize": size}
            for size, each in usage["hugetlb"].items()
        ],
        "memory_events": _some(messages.MEMORY_EVENTS, more["memory_events"]),
    }


def _memory_v2(memory: dict[str, Any], swap: dict[str, int]) -> Message:
    used = memory["usage"]
    return {
        **_some(messages.MEMORY_V2, memory["raw"]),
        "usage": used["usage"],
        "usage_limit": used["limit"],
        "max_usage": used.get("max", 0),
        "swap_usage": swap["current"],
        "swap_limit": swap["max"],
        "swap_max_usage": swap["peak"],
        "psi": memory.get("psi"),
    }


def _io(tables: dict[str, Any]) -> list[Message]:
    """Return one entry for each device."""
    found: dict[tuple[int, int], Message] = {}
    for (table, operation), name in IO.items():
        for each in tables.get(table, ()):
            if each.get("op") == operation:
                device = each["major"], each["minor"]
                found.setdefault(device, {"major": device[0], "minor": device[1]})[name] = each["value"]
    return list(found.values())
