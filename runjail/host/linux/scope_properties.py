"""Limits as properties of a systemd unit, as runc and crun make them of config.json.

See systemd.resource-control(5). A property is (name, D-Bus signature, value). What systemd has no property for is
written to the control group alone.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.spec.model import Resources
    from runjail.steps import Property

INFINITY = 2**64 - 1
PERIOD = 100_000  # microseconds: what the kernel takes when only a quota is given
STEP = 10_000  # systemd counts a quota in whole percents: microseconds in a second
PERIOD_SINCE, CPUSET_SINCE = 242, 244  # versions of systemd


def accounting(unified: bool) -> list[Property]:
    """Return what runc switches on for every container: the kernel cannot begin to count later."""
    kinds = ("Memory", "CPU", "IO" if unified else "BlockIO", "Tasks")
    return [(f"{kind}Accounting", "b", True) for kind in kinds]


def limits(resources: Resources, unified: bool, version: int) -> list[Property]:
    """Return the properties of what `resources` names; 0 of memory and CPU is "not said", as in plan.freebsd_rctl.

    Raises ValueError for a list of processors that cannot be read.
    """
    found: list[tuple[str, int | None]] = [("MemoryMax" if unified else "MemoryLimit", resources.memory_limit)]
    if unified:
        found += [("MemoryLow", resources.memory_reservation), ("MemorySwapMax", _swap(resources))]
    made: list[Property] = [(name, "t", _amount(value)) for name, value in found if value]
    if unified and _swap(resources) == 0 and resources.memory_swap:
        made.append(("MemorySwapMax", "t", 0))  # as much memory and swap as memory: no swap
    if shares := resources.cpu_shares:
        made.append(("CPUWeight", "t", weight(shares)) if unified else ("CPUShares", "t", shares))
    made += _cpu_time(resources, version)
    if resources.pids_limit is not None:
        made.append(("TasksMax", "t", _amount(resources.pids_limit) or 1))  # 0 it does not take; the file does
    if version >= CPUSET_SINCE:
        lists = (("AllowedCPUs", resources.cpus), ("AllowedMemoryNodes", resources.mems))
        made += [(name, "ay", bits(text)) for name, text in lists if text]
    return made


def weight(shares: int) -> int:
    """Turn cpu.shares of v1 (2 to 262144) into cpu.weight of v2 (1 to 10000), as runc does."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _amount(value: int) -> int:
    return INFINITY if value < 0 else value


def _swap(resources: Resources) -> int | None:
    """Return the limit of swap alone, which config.json counts together with memory."""
    swap, memory = resources.memory_swap, resources.memory_limit
    if swap is None:
        return -1 if memory == -1 else None
    return swap if swap <= 0 or memory is None or memory < 0 else max(swap - memory, 0)


def _cpu_time(resources: Resources, version: int) -> list[Property]:
    quota, period = resources.cpu_quota or 0, resources.cpu_period or 0
    made: list[Property] = [("CPUQuotaPeriodUSec", "t", period)] if period and version >= PERIOD_SINCE else []
    if quota or period:
        made.append(("CPUQuotaPerSecUSec", "t", _per_second(quota, period or PERIOD) if quota > 0 else INFINITY))
    return made


def _per_second(quota: int, period: int) -> int:
    """Return a quota as microseconds in a second, rounded up to what systemd can hold."""
    return -(-(quota * 1_000_000 // period) // STEP) * STEP


def rounded(resources: Resources) -> Resources:
    """Return the limits with the CPU quota as systemd rounds it: the file says the same, whoever wrote it last."""
    quota, period = resources.cpu_quota or 0, resources.cpu_period or PERIOD
    if quota <= 0:
        return resources
    return resources.replace(cpu_quota=_per_second(quota, period) * period // 1_000_000)


def bits(text: str) -> bytes:
    """Return a list such as `0-2,5` as bits, the lowest first. Raises ValueError."""
    number = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not part.strip():
            continue
        if not first.isdigit() or (dash and not last.isdigit()) or int(last or first) < int(first):
            raise ValueError(f"not a list of numbers: {text[:80]!r}")
        number |= ((1 << (int(last or first) + 1)) - 1) & ~((1 << int(first)) - 1)
    if not number:
        raise ValueError("an empty list")
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def devices(allow: bool, rules: Sequence[Sequence[str | int]]) -> list[Property]:
    """Return a policy as steps.DevicePolicy has it, where systemd can hold it; else its own policy is to allow all.

    Ours is in force beside it, and that of systemd comes back with `systemctl daemon-reload`. It has no rules that
    forbid, and none for one minor number of every major.
    """
    listed = [_device(*rule) for rule in rules]
    if allow or None in listed:
        return [("DeviceAllow", "a(ss)", ()), ("DevicePolicy", "s", "auto")]
    return [("DeviceAllow", "a(ss)", ()), ("DevicePolicy", "s", "strict"), ("DeviceAllow", "a(ss)", tuple(listed))]


def _device(kind: str | int, major: str | int, minor: str | int, access: str | int) -> tuple[str, str] | None:
    word = "char" if kind == "c" else "block"
    if minor != -1:
        return (f"/dev/{word}/{major}:{minor}", str(access)) if major != -1 else None
    return (f"{word}-{'*' if major == -1 else major}", str(access))
