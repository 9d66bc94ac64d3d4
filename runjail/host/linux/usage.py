"""What a container used, as runc's stats document: from its control group, or from its processes.

See its types/events.go. Numbers that the kernel does not have here are 0 or left out, as in runc's. Times are in
nanoseconds, sizes in bytes.
"""

from __future__ import annotations

import os

from runjail.host.linux import cgroups
from runjail.host.linux.processes import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_LIMIT = 2**64 - 1
TICK = 10_000_000  # nanoseconds; USER_HZ is 100 on every processor that Linux runs on
HUGE_PAGES = "/sys/kernel/mm/hugepages"
CPUSET = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab"),
    *("memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)
# blkio's files on v1: a scheduler's own before the throttling layer's; the first set that has counted anything counts
BLKIO = (
    ("bfq.", "_recursive"),
    ("", "_recursive"),
    ("throttle.", "_recursive"),
    ("throttle.", ""),
)
BLKIO_TABLES = {
    "io_serviced": "ioServicedRecursive",
    "io_service_bytes": "ioServiceBytesRecursive",
    "io_queued": "ioQueueRecursive",
    "io_service_time": "ioServiceTimeRecursive",
    "io_wait_time": "ioWaitTimeRecursive",
    "io_merged": "ioMergedRecursive",
    "time": "ioTimeRecursive",
    "sectors": "sectorsRecursive",
}
IO_STAT = {  # of v2: where it belongs in v1's tables
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def stats(path: str, pids: list[int]) -> dict[str, Any]:
    """Return the stats document of the group at `path`; without one ("") the numbers of the processes that live now."""
    if not path:
        return _stats_of_processes(pids)
    return _stats_v2(f"{cgroups.TOP}/{path}", len(pids)) if cgroups.unified() else _stats_v1(path, len(pids))


def _stats_of_processes(pids: list[int]) -> dict[str, Any]:
    """Add up utime, stime and rss, fields 14, 15 and 24 of /proc/PID/stat."""
    found = [fields for pid in pids if (fields := stat(pid))]
    user, kernel, pages = (sum(int(fields[number - 3]) for fields in found) for number in (14, 15, 24))
    times = {"total": (user + kernel) * TICK, "kernel": kernel * TICK, "user": user * TICK}
    memory = {"limit": 0, "usage": pages * os.sysconf("SC_PAGE_SIZE"), "failcnt": 0}
    return _document(times, {}, {}, {"usage": memory}, {"current": len(pids), "limit": 0}, {}, {})


def _document(
    cpu: dict[str, Any],
    throttling: dict[str, int],
    cpuset: dict[str, Any],
    memory: dict[str, Any],
    pids: dict[str, int],
    blkio: dict[str, Any],
    hugetlb: dict[str, Any],
) -> dict[str, Any]:
    entries = {name: {"limit": 0, "usage": 0, "failcnt": 0} for name in ("usage", "swap", "kernel", "kernelTCP")}
    return {
        "cpu": {"usage": {"percpu": [], **cpu}, "throttling": throttling},
        "cpuset": {**dict.fromkeys(CPUSET, 0), **cpuset},
        "memory": {**entries, "raw": {}, **memory},
        "pids": pids,
        "blkio": blkio,
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": None,
    }


# Control groups v2 ------------------------------------------------------------------------------------------------


def _stats_v2(directory: str, processes: int) -> dict[str, Any]:
    times = _pairs(f"{directory}/cpu.stat")
    cpu = {"total": "usage_usec", "kernel": "system_usec", "user": "user_usec"}
    made = _document(
        {name: times.get(key, 0) * 1000 for name, key in cpu.items()},
        _throttling(times, times.get("throttled_usec", 0) * 1000),
        {},
        _memory_v2(directory),
        _pids(directory, processes),
        _io_stat(f"{directory}/io.stat"),
        _hugetlb(directory, "current"),
    )
    for part, file in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        if pressure := _pressure(f"{directory}/{file}.pressure"):
            made[part]["psi"] = pressure
    return made


def _memory_v2(directory: str) -> dict[str, Any]:
    raw = _pairs(f"{directory}/memory.stat")
    used, swap = _entry_v2(f"{directory}/memory"), _entry_v2(f"{directory}/memory.swap")
    swap.pop("max", None)  # what both together were at most is not known
    swap["usage"] += used["usage"]  # v1 counts swap together with memory
    swap["limit"] = NO_LIMIT if NO_LIMIT in (swap["limit"], used["limit"]) else swap["limit"] + used["limit"]
    return {"cache": raw.get("file", 0), "usage": used, "swap": swap, "raw": raw}


def _entry_v2(file: str) -> dict[str, int]:
    entry = {"limit": _number(f"{file}.max"), "usage": _number(f"{file}.current"), "failcnt": 0}
    return {**entry, "max": _number(f"{file}.peak")} if os.path.exists(f"{file}.peak") else entry


def _io_stat(file: str) -> dict[str, Any]:
    """Return io.stat's lines, as `254:0 rbytes=1 wbytes=2 rios=3 ...`, in the tables of v1."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for line in cgroups.content(file).splitlines():
        device, *items = line.split()
        for item in items:
            name, _, value = item.partition("=")
            if name in IO_STAT:
                table, operation = IO_STAT[name]
                tables.setdefault(table, []).append(_blkio_entry(device, operation, value))
    return tables


def _pressure(file: str) -> dict[str, Any]:
    """Return the lines of a .pressure file, as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (psi.rst)."""
    found: dict[str, Any] = {}
    for line in cgroups.content(file).splitlines():
        kind, *items = line.split()
        values = dict(item.split("=", 1) for item in items)
        averages = {name: float(values.get(name, 0)) for name in ("avg10", "avg60", "avg300")}
        found[kind] = {**averages, "total": int(values.get("total", 0))}
    return found


# Control groups v1 ------------------------------------------------------------------------------------------------


def _stats_v1(path: str, processes: int) -> dict[str, Any]:
    def directory(controller: str) -> str:
        return f"{cgroups.TOP}/{controller}/{path}"

    held = _pairs(f"{directory('cpu')}/cpu.stat")
    return _document(
        _cpu_v1(directory("cpuacct")),
        _throttling(held, held.get("throttled_time", 0)),
        _cpuset(directory("cpuset")),
        _memory_v1(directory("memory")),
        _pids(directory("pids"), processes),
        _blkio(directory("blkio")),
        _hugetlb(directory("hugetlb"), "usage_in_bytes"),
    )


def _cpu_v1(directory: str) -> dict[str, Any]:
    ticks = _pairs(f"{directory}/cpuacct.stat")
    rows = [line.split() for line in cgroups.content(f"{directory}/cpuacct.usage_all").splitlines()[1:]]
    return {
        "total": _number(f"{directory}/cpuacct.usage"),
        "kernel": ticks.get("system", 0) * TICK,
        "user": ticks.get("user", 0) * TICK,
        "percpu": [int(text) for text in cgroups.content(f"{directory}/cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(row[2]) for row in rows if len(row) > 2],
        "percpu_user": [int(row[1]) for row in rows if len(row) > 2],
    }


def _memory_v1(directory: str) -> dict[str, Any]:
    raw = _pairs(f"{directory}/memory.stat")
    names = {"usage": "memory", "swap": "memory.memsw", "kernel": "memory.kmem", "kernelTCP": "memory.kmem.tcp"}
    entries = {name: _entry_v1(f"{directory}/{file}") for name, file in names.items()}
    return {"cache": raw.get("cache", 0), **entries, "raw": raw}


def _entry_v1(file: str) -> dict[str, int]:
    names = {"limit": "limit_in_bytes", "usage": "usage_in_bytes", "max": "max_usage_in_bytes", "failcnt": "failcnt"}
    return {name: _number(f"{file}.{ending}") for name, ending in names.items()}


def _cpuset(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: _number(f"{directory}/cpuset.{name}") for name in CPUSET}
    for name in ("cpus", "mems"):
        found[name] = _listed(cgroups.content(f"{directory}/cpuset.{name}"))
    return found


def _listed(text: str) -> list[int]:
    """Return the numbers of a list such as `0-2,5`."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _blkio(directory: str) -> dict[str, Any]:
    for prefix, suffix in BLKIO:
        if _blkio_table(cgroups.content(f"{directory}/blkio.{prefix}io_serviced{suffix}")):
            files = {table: f"{directory}/blkio.{prefix}{name}{suffix}" for name, table in BLKIO_TABLES.items()}
            tables = {table: _blkio_table(cgroups.content(file)) for table, file in files.items()}
            return {table: entries for table, entries in tables.items() if entries}
    return {}


def _blkio_table(text: str) -> list[dict[str, Any]]:
    """Return lines such as `8:0 Read 4096`; the last one is a sum over all devices."""
    rows = [line.split() for line in text.splitlines()]
    return [_blkio_entry(row[0], row[1] if len(row) > 2 else "", row[-1]) for row in rows if ":" in row[0]]


# Both -------------------------------------------------------------------------------------------------------------


def _blkio_entry(device: str, operation: str, value: str) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    entry = {"major": int(major), "minor": int(minor), "value": int(value)}
    return {**entry, "op": operation} if operation else entry


def _throttling(pairs: dict[str, int], nanoseconds: int) -> dict[str, int]:
    """Return how often, and for how long, the CPU quota held the container back."""
    periods, throttled = pairs.get("nr_periods", 0), pairs.get("nr_throttled", 0)
    return {"periods": periods, "throttledPeriods": throttled, "throttledTime": nanoseconds}


def _pids(directory: str, processes: int) -> dict[str, int]:
    limit = _number(f"{directory}/pids.max")
    current = cgroups.content(f"{directory}/pids.current").strip()
    return {"current": int(current) if current else processes, "limit": 0 if limit == NO_LIMIT else limit}


def _hugetlb(directory: str, ending: str) -> dict[str, Any]:
    """Return an entry for each size of huge pages that the group counts; reserved pages where the kernel does."""
    found: dict[str, Any] = {}
    for size in _page_sizes():
        base = f"{directory}/hugetlb.{size}"
        kind = f"{base}.rsvd" if os.path.exists(f"{base}.rsvd.{ending}") else base
        if not os.path.exists(f"{kind}.{ending}"):
            continue
        failures = _pairs(f"{base}.events").get("max", 0) or _number(f"{kind}.failcnt")
        found[size] = {"usage": _number(f"{kind}.{ending}"), "failcnt": failures}
        if os.path.exists(f"{kind}.max_usage_in_bytes"):
            found[size]["max"] = _number(f"{kind}.max_usage_in_bytes")
    return found


def _page_sizes() -> list[str]:
    """Return the sizes of huge pages as control groups call them: `2MB` of `hugepages-2048kB`."""
    try:
        names = os.listdir(HUGE_PAGES)
    except OSError:
        return []
    sizes = []
    for name in names:
        number, unit = int(name.removeprefix("hugepages-").removesuffix("kB")), 0
        while number >= 1024 and number % 1024 == 0:
            number, unit = number // 1024, unit + 1
        sizes.append(f"{number}{('KB', 'MB', 'GB')[unit]}")
    return sorted(sizes)


def _number(file: str) -> int:
    """Return the number in a file, 0 when it cannot be read. `max` is the largest of 64 bits."""
    text = cgroups.content(file).strip()
    if text == "max":
        return NO_LIMIT
    return int(text) if text.lstrip("-").isdigit() else 0


def _pairs(file: str) -> dict[str, int]:
    """Return the lines `NAME NUMBER` of a file."""
    rows = (line.split() for line in cgroups.content(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
