"""linux.resources, also the document of `update`: limits for both hosts, and of control groups.

Go clients write 0 for "no number given" in memory and cpu, so there 0 counts as silence, as runc has it.
"""

from __future__ import annotations

from runjail.sizes import read_number
from runjail.spec.document import shaped
from runjail.spec.model import BlockLimit, Resources
from runjail.spec.problems import quote
from runjail.spec.reader import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.reader import Reader

LAST_CPU = 65535
LARGEST_PAGE = 2**20  # of its unit
RATES = {  # of blockIO, and what they are called in the files of control groups
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


def parse_resources(document: object) -> Resources:
    """Check the document of `update --resources`. Raises InvalidConfig with every problem."""
    report = Report()
    resources = read_resources(shaped(document, "resources", report, "resources document"))
    report.raise_if_any("resources document")
    return resources


def read_resources(resources: Reader) -> Resources:
    """Read and check linux.resources or the document of `update`."""
    memory, cpu, pids = resources.section("memory"), resources.section("cpu"), resources.section("pids")
    limit, swap = _read_size(memory, "limit"), _read_size(memory, "swap")
    if limit is not None and swap is not None and 0 < swap < limit:
        memory.refuse(f"counts memory too, so it must be at least the limit {limit}, not {swap}", "swap")
    period = cpu.number("period") or None
    if period is not None and not 1000 <= period <= 1_000_000:
        cpu.refuse(f"must be between 1000 and 1000000 microseconds, not {period}", "period")
    quota = cpu.number("quota") or None
    return Resources(
        memory_limit=limit,
        memory_reservation=_read_size(memory, "reservation"),
        memory_swap=swap,
        cpu_shares=cpu.number("shares") or None,
        cpu_quota=quota if quota is None else max(quota, -1),
        cpu_period=period,
        cpus=_read_numbers(cpu, "cpus"),
        mems=_read_numbers(cpu, "mems"),
        pids_limit=_at_least_minus_one(pids, "limit", pids.number("limit")),
        swappiness=_read_swappiness(memory),
        oom_killer_off=memory.flag("disableOOMKiller"),
        check_before_update=memory.flag("checkBeforeUpdate"),
        cpu_idle=cpu.number("idle"),
        cpu_burst=cpu.number("burst"),
        realtime_period=cpu.number("realtimePeriod") or None,
        realtime_runtime=cpu.number("realtimeRuntime") or None,
        hugepages=_read_hugepages(resources),
        block=_read_block(resources.section("blockIO")),
        class_id=resources.section("network").number("classID") or None,
        priorities=tuple(
            (item.text("name"), item.number("priority") or 0)
            for item in resources.section("network").sections("priorities")
        ),
        rdma=_read_rdma(resources),
        unified=_read_unified(resources),
    )


def _read_swappiness(memory: Reader) -> int | None:
    """Return 0 to 100, None when absent; Go clients write -1 as the largest unsigned number for "not said"."""
    value = memory.number("swappiness")
    if value is None or value == 2**64 - 1:
        return None
    if value > 100:
        memory.refuse(f"must be between 0 and 100, not {value}", "swappiness")
    return value


def _read_hugepages(resources: Reader) -> tuple[tuple[str, int], ...]:
    found = []
    for item in resources.sections("hugepageLimits"):
        size = item.text("pageSize")
        if size[-2:] not in ("KB", "MB", "GB") or read_number(size[:-2], LARGEST_PAGE) is None:
            item.refuse(f"must be a size such as 2MB or 1GB, not {quote(size)}", "pageSize")
        found.append((size, item.number("limit") or 0))
    return tuple(found)


def _read_block(block: Reader) -> tuple[BlockLimit, ...]:
    """Return weights, the group's own first, and rates of devices. 0 is no weight, as Go clients write it."""
    found = [
        BlockLimit(kind, "", value)
        for kind, key in (("weight", "weight"), ("leaf_weight", "leafWeight"))
        if (value := block.number(key))
    ]
    for item in block.sections("weightDevice"):
        device = f"{item.number('major') or 0}:{item.number('minor') or 0}"
        found += [
            BlockLimit(kind, device, value)
            for kind, key in (("weight", "weight"), ("leaf_weight", "leafWeight"))
            if (value := item.number(key))
        ]
    for key, kind in RATES.items():
        for item in block.sections(key):
            device = f"{item.number('major') or 0}:{item.number('minor') or 0}"
            found.append(BlockLimit(kind, device, item.number("rate") or 0))
    return tuple(found)


def _read_rdma(resources: Reader) -> tuple[tuple[str, int | None, int | None], ...]:
    rdma = resources.section("rdma")
    limits = [(name, rdma.section(name)) for name in rdma.values if rdma.has(name)]
    return tuple((name, limit.number("hcaHandles"), limit.number("hcaObjects")) for name, limit in limits)


def _read_unified(resources: Reader) -> tuple[tuple[str, str], ...]:
    """Return files of a control group and what is written to them."""
    section = resources.section("unified")
    for file in section.values:
        if "/" in file or file in ("", ".", ".."):
            section.refuse("must be a file name (no slashes)", file)
    return tuple((file, section.text(file)) for file in section.values if section.has(file))


def _read_size(memory: Reader, key: str) -> int | None:
    return _at_least_minus_one(memory, key, memory.number(key) or None)


def _at_least_minus_one(section: Reader, key: str, value: int | None) -> int | None:
    if value is not None and value < -1:
        section.refuse(f"must be -1 for no limit, or not negative, not {value}", key)
    return value


def _read_numbers(cpu: Reader, key: str) -> str | None:
    """Return a list of CPUs or memory nodes, `0-2,5`, as written."""
    text = cpu.text(key)
    for piece in text.split(",") if text else ():
        first, dash, last = piece.partition("-")
        low = read_number(first, LAST_CPU)
        if low is None or (dash and read_number(last, LAST_CPU, low) is None):
            cpu.refuse(f"must be a list such as 0-2,5, not {quote(text)}", key)
            break
    return text or None
