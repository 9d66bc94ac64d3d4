"""How the kernel treats a process: CPU and I/O scheduling, memory policy, personality(2).

process.scheduler, ioPriority and execCPUAffinity, linux.personality and linux.memoryPolicy (runtime-spec 1.3). Loaded
only for a config.json that has one of them. What the rules refuse here runc refuses before it starts anything; what
they leave to the kernel it refuses later.
"""

from __future__ import annotations

from runjail.record import Record
from runjail.sizes import read_number
from runjail.spec.problems import any_of, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.reader import Reader
    from runjail.target import Target

POLICIES = tuple(f"SCHED_{word}" for word in "OTHER FIFO RR BATCH ISO IDLE DEADLINE".split())
JAIL_POLICIES = tuple(f"SCHED_{word}" for word in "OTHER FIFO RR IDLE".split())
FLAGS = tuple(
    f"SCHED_FLAG_{word}"
    for word in "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX".split()
)
REAL_TIME, DEADLINE = ("SCHED_FIFO", "SCHED_RR"), "SCHED_DEADLINE"
NICE = ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE")  # policies that look at it
TIMES = ("runtime", "deadline", "period")
IO_CLASSES = tuple(f"IOPRIO_CLASS_{word}" for word in ("RT", "BE", "IDLE"))
LAST_IO_PRIORITY = 7
DOMAINS = ("LINUX", "LINUX32")
MEMORY_MODES = tuple(
    f"MPOL_{word}" for word in "DEFAULT PREFERRED BIND INTERLEAVE LOCAL PREFERRED_MANY WEIGHTED_INTERLEAVE".split()
)  # in the order of their numbers
MEMORY_FLAGS = tuple(f"MPOL_F_{word}" for word in ("STATIC_NODES", "RELATIVE_NODES", "NUMA_BALANCING"))
WITHOUT_NODES, FREE = ("MPOL_DEFAULT", "MPOL_LOCAL"), ("MPOL_PREFERRED",)
LARGEST = 65536  # CPU or memory node


class Scheduler(Record):
    """process.scheduler: runtime, deadline and period in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class MemoryPolicy(Record):
    """linux.memoryPolicy: nodes are numbers, in order."""

    mode: str
    nodes: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()


def read_scheduler(section: Reader, target: Target) -> Scheduler | None:
    """Read and check process.scheduler, None when it says nothing."""
    if not section.values:
        return None
    policies = JAIL_POLICIES if target.jails else POLICIES
    found = Scheduler(
        policy=section.word("policy", policies),
        nice=section.number("nice") or 0,
        priority=section.number("priority") or 0,
        flags=section.words("flags", () if target.jails else FLAGS),
        runtime=section.number("runtime") or 0,
        deadline=section.number("deadline") or 0,
        period=section.number("period") or 0,
    )
    if found.policy in policies:
        _check_numbers(section, found, target)
    return found


def _check_numbers(section: Reader, found: Scheduler, target: Target) -> None:
    """Refuse numbers that are not the policy's (sched_setattr(2); on FreeBSD sched_setscheduler(2))."""
    if found.policy in NICE and not -20 <= found.nice <= 19:
        section.refuse(f"must be between -20 and 19, not {found.nice}", "nice")
    if found.policy in REAL_TIME:
        least, most = (0, 31) if target.jails else (1, 99)
        if not least <= found.priority <= most:
            section.refuse(f"must be between {least} and {most}, not {found.priority}", "priority")
    elif found.priority:
        section.refuse(f"is only for {any_of(REAL_TIME)}", "priority")
    for key in TIMES:
        if section.number(key) and found.policy != DEADLINE:
            section.refuse(f"is only for {quote(DEADLINE)}", key)


def read_io_priority(section: Reader) -> tuple[str, int] | None:
    """Read and check process.ioPriority: a class and a priority within it, 0 the highest. None when it says nothing."""
    if not section.values:
        return None
    priority = section.number("priority") or 0
    if not 0 <= priority <= LAST_IO_PRIORITY:
        section.refuse(f"must be between 0 and {LAST_IO_PRIORITY}, not {priority}", "priority")
    return section.word("class", IO_CLASSES), priority


def read_exec_cpus(section: Reader) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read and check process.execCPUAffinity: CPUs before and after the control group is entered, empty for any."""
    return read_list(section, "initial"), read_list(section, "final")


def read_personality(section: Reader) -> str:
    """Read and check linux.personality: LINUX, LINUX32, or "" when it says nothing."""
    if not section.values:
        return ""
    for index, _ in section.texts("flags"):
        section.refuse("is not supported: runtime-spec 1.3 has no flags", "flags", index)
    return section.word("domain", DOMAINS)


def read_memory_policy(section: Reader) -> MemoryPolicy:
    """Read and check linux.memoryPolicy (set_mempolicy(2)); one without a mode is refused, as by runc."""
    mode, nodes = section.word("mode", MEMORY_MODES), read_list(section, "nodes")
    if mode in WITHOUT_NODES and nodes:
        section.refuse(f"{mode} takes no nodes, not {len(nodes)}", "nodes")
    elif (
        mode in MEMORY_MODES
        and mode not in (*WITHOUT_NODES, *FREE)
        and not nodes
        and section.report.clean(*section.path)
    ):
        section.refuse(f"{mode} takes at least one node", "nodes")
    return MemoryPolicy(mode, nodes, section.words("flags", MEMORY_FLAGS))


def read_list(section: Reader, key: str) -> tuple[int, ...]:
    """Return the numbers of a list such as `0-2,5`: blanks and empty pieces are allowed, as runc has it."""
    text, found = section.text(key), set[int]()
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    for piece in pieces:
        first, dash, last = piece.partition("-")
        low = read_number(first, LARGEST)
        high = read_number(last, LARGEST, low or 0) if dash else low
        if low is None or high is None:
            section.refuse(f"must be a list such as 0-2,5, of numbers up to {LARGEST}, not {quote(text)}", key)
            return ()
        found.update(range(low, high + 1))
    if text and not pieces:
        section.refuse(f"must be a list such as 0-2,5, not {quote(text)}", key)
    return tuple(sorted(found))
