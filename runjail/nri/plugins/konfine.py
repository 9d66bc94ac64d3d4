"""konfine: keep containers off the CPUs that are reserved for the system.

    {"type": "konfine", "conf": {"systemReserved": [0, 1]}}

FreeBSD: cpuset(1) on the jail. Linux: the cpuset control group, or without one sched_setaffinity(2) of the processes
that there are. Where that would leave no CPU, the last of the reserved ones is shared with the system.
"""

from __future__ import annotations

import os

from runjail.host import programs
from runjail.nri.messages import JAIL_ID
from runjail.nri.plugins import skel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.nri.plugins.skel import Metadata, Request

CPUSET = "/usr/bin/cpuset"
TOP = "/sys/fs/cgroup"
ROUNDS = 100


def invoke(request: Request) -> Metadata:
    """Confine a container that is created, or whose limits were changed."""
    reserved = read_reserved(request.get("conf"))
    if request["state"] not in ("create", "update") or not request.get("pid") or not reserved:
        return {}
    jail = skel.annotations_of(request).get(JAIL_ID, "")
    cpus = _confine_jail(jail, reserved) if jail else _confine_processes(skel.group(request), request["pid"], reserved)
    return {"cpus": cpus}


def read_reserved(conf: object) -> set[int]:
    """Return the CPUs of `systemReserved`. Raises ValueError when it is no list of numbers."""
    listed = conf.get("systemReserved", []) if isinstance(conf, dict) else [] if conf is None else None
    if not isinstance(listed, list) or not all(type(cpu) is int and cpu >= 0 for cpu in listed):
        raise ValueError("conf.systemReserved must be a list of CPU numbers, such as [0, 1]")
    return set(listed)


def left(present: set[int], reserved: set[int]) -> set[int]:
    """Return what a container may use of the CPUs it has now: at least one, whatever is reserved."""
    if present and present <= reserved:
        shared = max(present)
        skel.warn(f"all of the container's CPUs are reserved for the system: it shares CPU {shared}")
        return {shared}
    return present - reserved


def read_list(text: str) -> set[int]:
    """Return the CPUs of a list such as `0-2,5` or `0, 1`."""
    cpus: set[int] = set()
    for part in filter(None, map(str.strip, text.split(","))):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def _written(cpus: set[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


def _confine_jail(jid: str, reserved: set[int]) -> str:
    stdout = programs.check([CPUSET, "-g", "-j", jid]).stdout.decode("ascii", "replace")
    masks = [line.partition(" mask: ")[2] for line in stdout.splitlines() if "domain" not in line]
    cpus = _written(left(read_list(masks[0]), reserved))
    programs.check([CPUSET, "-l", cpus, "-j", jid])
    return cpus


def _confine_processes(group: str, pid: int, reserved: set[int]) -> str:
    unified = os.path.exists(f"{TOP}/cgroup.controllers")
    directory = f"{TOP}/{group}" if unified else f"{TOP}/cpuset/{group}"
    if group and os.path.exists(f"{directory}/cpuset.cpus"):
        with open(f"{directory}/cpuset.cpus{'.effective' if unified else ''}", encoding="ascii") as file:
            cpus = left(read_list(file.read()), reserved)
        with open(f"{directory}/cpuset.cpus", "w", encoding="ascii") as file:
            file.write(_written(cpus))
        return _written(cpus)
    cpus = left(os.sched_getaffinity(pid), reserved)
    _confine_tree(pid, cpus)
    return _written(cpus)


def _confine_tree(pid: int, cpus: set[int]) -> None:
    """Move every thread of a process and its children; again while there are new ones, whose parents were not moved."""
    moved: set[int] = set()
    for _ in range(ROUNDS):
        found = _threads(pid) - moved
        for thread in found:
            try:
                os.sched_setaffinity(thread, cpus)
            except ProcessLookupError:
                pass
        moved |= found
        if not found:
            return


def _threads(pid: int) -> set[int]:
    found: set[int] = set()
    pending = [pid]
    while pending:
        process = pending.pop()
        try:
            threads = os.listdir(f"/proc/{process}/task")
            found.update(map(int, threads))
            for thread in threads:
                with open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as file:
                    pending += map(int, file.read().split())
        except OSError:  # it ended, or this kernel does not list children
            pass
    return found


def main() -> None:
    """Answer one request."""
    skel.main("konfine", invoke)
