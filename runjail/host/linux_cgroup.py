"""Linux control groups, v1 and v2, as far as a container needs them: limits, freezing, numbers.

A hierarchy that cannot be written is not an error: the Linux host is for development, often inside a container
itself. Then a warning names what is not enforced.
"""

import os
import time

from runjail import log
from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.host.base import Box, Note, Noting
    from runjail.spec.model import Resources
    from runjail.steps import Cgroup

TOP = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct", "cpuset", "pids", "freezer")
REMOVE_ROUNDS = 200
REMOVE_PAUSE = 0.005  # seconds


def unified() -> bool:
    """Say whether this machine has the one tree of cgroup v2."""
    return os.path.exists(f"{TOP}/cgroup.controllers")


def directories(path: str) -> list[str]:
    """Return the directory of a control group in every hierarchy that is mounted here."""
    if unified():
        return [f"{TOP}/{path}"]
    return [f"{TOP}/{controller}/{path}" for controller in CONTROLLERS if os.path.isdir(f"{TOP}/{controller}")]


def create(step: "Cgroup", box: "Box", note: "Noting") -> None:
    """Make the group where it is missing, then set its limits."""
    wanted = _settings(step.resources)
    if not box.cgroup:
        missing = [made for directory in directories(step.path) for made in _missing(directory)]
        note({"undo": "cgroup", "path": step.path, "made": missing})
        try:
            for directory in directories(step.path):
                _make(directory)
        except OSError as error:
            names = ", ".join(file for _, file, _ in wanted)
            log.warning(
                f"control groups cannot be written ({reason(error)})" + (f"; not enforced: {names}" if names else "")
            )
            return
        box.cgroup = step.path
    for controller, file, value in wanted:
        _set(step.path, controller, file, value)


def _missing(directory: str) -> list[str]:
    parts: list[str] = []
    while not os.path.isdir(directory):
        parts.insert(0, directory)
        directory = os.path.dirname(directory)
    return parts


def _make(directory: str) -> None:
    """Make a group and what is missing above it; others may make and remove the same parents at this moment."""
    for attempt in range(REMOVE_ROUNDS):
        for path in _missing(directory):
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                pass
            except FileNotFoundError:  # a parent was removed between our look and our mkdir
                if attempt == REMOVE_ROUNDS - 1:
                    raise
                break
            _inherit(path)
        else:
            return


def _inherit(directory: str) -> None:
    """A new v1 cpuset is empty and takes no process; a v2 group has no controllers until its parent passes them on."""
    parent = os.path.dirname(directory)
    if directory.startswith(f"{TOP}/cpuset/"):
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not _read(f"{directory}/{file}").strip():
                _inherit(parent)  # whoever makes it at this moment may not have come so far yet
                _write(f"{directory}/{file}", _read(f"{parent}/{file}"))
    elif unified():
        for controller in _read(f"{parent}/cgroup.controllers").split():
            if controller in CONTROLLERS:
                try:
                    _write(f"{parent}/cgroup.subtree_control", f"+{controller}")
                except OSError as error:  # a parent with processes of its own passes nothing on
                    log.debug(f"control group {parent}: {controller}: {reason(error)}")


def _settings(resources: "Resources") -> list[tuple[str, str, str]]:
    """Return (controller, file, value) in an order the kernel accepts."""
    return _settings_v2(resources) if unified() else _settings_v1(resources)


def _settings_v1(resources: "Resources") -> list[tuple[str, str, str]]:
    swap_first = resources.memory_swap == -1  # raising: the sum of memory and swap must move before memory does
    memory = [("memory", "memory.limit_in_bytes", resources.memory_limit)]
    swap = [("memory", "memory.memsw.limit_in_bytes", resources.memory_swap)]
    rows: list[tuple[str, str, int | str | None]] = [
        *(swap + memory if swap_first else memory + swap),
        ("memory", "memory.soft_limit_in_bytes", resources.memory_reservation),
        ("cpu", "cpu.shares", resources.cpu_shares),
        ("cpu", "cpu.cfs_period_us", resources.cpu_period),
        ("cpu", "cpu.cfs_quota_us", resources.cpu_quota),
        ("cpuset", "cpuset.cpus", resources.cpus),
        ("cpuset", "cpuset.mems", resources.mems),
        ("pids", "pids.max", "max" if (resources.pids_limit or 1) <= 0 else resources.pids_limit),
    ]
    return [(controller, file, str(value)) for controller, file, value in rows if value not in (None, "")]


def _settings_v2(resources: "Resources") -> list[tuple[str, str, str]]:
    quota, period = resources.cpu_quota, resources.cpu_period
    swap = resources.memory_swap
    if swap is not None and swap > 0 and resources.memory_limit is not None:
        swap = max(swap - resources.memory_limit, 0)  # v1 counts memory and swap together, v2 swap alone
    maximum = None if quota is None and period is None else f"{_maximum(quota) or 'max'} {period or 100000}"
    shares = min(max(resources.cpu_shares, 2), 262144) if resources.cpu_shares else 0  # as v1 does
    rows: list[tuple[str, str, str | None]] = [
        ("memory", "memory.max", _maximum(resources.memory_limit)),
        ("memory", "memory.swap.max", _maximum(swap)),
        ("memory", "memory.low", _maximum(resources.memory_reservation)),
        ("cpu", "cpu.max", maximum),
        ("cpu", "cpu.weight", str(1 + (shares - 2) * 9999 // 262142) if shares else None),
        ("cpuset", "cpuset.cpus", resources.cpus),
        ("cpuset", "cpuset.mems", resources.mems),
        ("pids", "pids.max", _maximum(resources.pids_limit or None)),
    ]
    return [(controller, file, value) for controller, file, value in rows if value]


def _maximum(value: int | None) -> str | None:
    return None if value is None else "max" if value < 0 else str(value)


def _set(path: str, controller: str, file: str, value: str) -> None:
    target = f"{TOP}/{path}/{file}" if unified() else f"{TOP}/{controller}/{path}/{file}"
    try:
        _write(target, value)
    except FileNotFoundError:
        log.warning(f"not enforced: {file} (no such file in this kernel's control groups)")
    except OSError as error:
        raise HostError(f"setting {file} to {value}: {reason(error)}") from error


def join(path: str, pid: int) -> None:
    """Put a process into the group."""
    for directory in directories(path):
        try:
            _write(f"{directory}/cgroup.procs", str(pid))
        except OSError as error:
            raise HostError(f"joining control group {directory}: {reason(error)}") from error


def remove(note: "Note") -> None:
    """Remove what create made: the group, with what is below it, once its last process is gone; then unused parents."""
    for directory in reversed(note["made"]):
        if not directory.endswith("/" + note["path"]):
            _remove_parent(directory)
            continue
        for _ in range(REMOVE_ROUNDS):
            if _removed(directory):
                break
            time.sleep(REMOVE_PAUSE)
        else:
            raise HostError(f"removing control group {directory}: it still has processes")


def _remove_parent(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:  # gone, or others have groups in it by now
        pass


def _removed(directory: str) -> bool:
    try:
        _remove_below(directory)
    except FileNotFoundError:
        return True
    except OSError:  # busy until the last process has been reaped
        return False
    return True


def _remove_below(directory: str) -> None:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            _remove_below(entry.path)
    os.rmdir(directory)


def freeze(path: str, frozen: bool) -> bool:
    """Freeze or thaw the group. False when this machine has no freezer."""
    file, word = (
        ("cgroup.freeze", str(int(frozen))) if unified() else ("freezer.state", "FROZEN" if frozen else "THAWED")
    )
    target = f"{TOP}/{path}/{file}" if unified() else f"{TOP}/freezer/{path}/{file}"
    try:
        _write(target, word)
    except OSError:
        return False
    return True


def usage(path: str, processes: int) -> "dict[str, Any]":
    """Return the numbers of runc's stats document that this machine knows; a container without a group has none."""
    if not path:
        cpu, memory, limit, pids = {"total": 0, "user": 0, "kernel": 0}, 0, 0, 0
    elif unified():
        times = dict(line.split() for line in _number_lines(f"{TOP}/{path}/cpu.stat"))
        cpu = {"total": int(times.get("usage_usec", 0)) * 1000, "user": int(times.get("user_usec", 0)) * 1000}
        cpu["kernel"] = int(times.get("system_usec", 0)) * 1000
        memory, limit = _number(f"{TOP}/{path}/memory.current"), _number(f"{TOP}/{path}/memory.max")
        pids = _number(f"{TOP}/{path}/pids.max")
    else:
        cpu = {"total": _number(f"{TOP}/cpuacct/{path}/cpuacct.usage")}
        cpu["user"] = _number(f"{TOP}/cpuacct/{path}/cpuacct.usage_user")
        cpu["kernel"] = _number(f"{TOP}/cpuacct/{path}/cpuacct.usage_sys")
        memory = _number(f"{TOP}/memory/{path}/memory.usage_in_bytes")
        limit = _number(f"{TOP}/memory/{path}/memory.limit_in_bytes")
        pids = _number(f"{TOP}/pids/{path}/pids.max")
    return {
        "cpu": {"usage": {**cpu, "percpu": []}, "throttling": {}},
        "cpuset": {},
        "memory": {"usage": {"usage": memory, "limit": limit}, "swap": {}, "kernel": {}, "kernelTCP": {}, "raw": {}},
        "pids": {"current": processes, "limit": pids},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def check() -> tuple[str, bool, str, str]:
    """Return the row of `runjail check` about control groups."""
    version = "v2" if unified() else "v1"
    writable = all(os.access(directory, os.W_OK) for directory in directories("")) and bool(directories(""))
    return (
        "control groups",
        writable,
        f"{version}, {'writable' if writable else 'read-only'}",
        "" if writable else f"mount -o remount,rw {TOP}",
    )


def _number(path: str) -> int:
    lines = _number_lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else 0


def _number_lines(path: str) -> list[str]:
    return _read(path).splitlines()


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    finally:
        os.close(descriptor)


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
