"""What process.scheduler, ioPriority, linux.personality and memoryPolicy are for the kernel (Linux).

Others give a process its turns at CPUs and disks, from outside, once it has appeared inside: who is scheduled by
deadlines may not fork any more (sched(7)). The other two each process takes on by itself. Numbers of system calls and
words are of linux/sched/types.h, linux/ioprio.h, linux/personality.h and linux/mempolicy.h.
"""

from __future__ import annotations

import errno
import os
import struct

from runjail.errors import HostError, reason
from runjail.host.linux import libc
from runjail.spec import scheduling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Process
    from runjail.spec.scheduling import MemoryPolicy, Scheduler

SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237, "riscv64": 237}
PERSONALITY = {"x86_64": 135, "aarch64": 92, "riscv64": 92}
ATTRIBUTES = struct.Struct("@IIQiIQQQII")  # struct sched_attr of Linux 5.3, with the two bounds of utilisation
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
IOPRIO_WHO_PROCESS, IOPRIO_CLASS_SHIFT = 1, 13
DOMAINS = {"LINUX": 0, "LINUX32": 8}
MEMORY_FLAGS = {"MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13}
WORD = 64  # bits


def schedule(pid: int, process: Process) -> None:
    """Give another process its scheduler and its I/O priority. Raises HostError."""
    if process.scheduler:
        _schedule(pid, process.scheduler)
    if process.io_priority:
        word, priority = process.io_priority
        wanted = (scheduling.IO_CLASSES.index(word) + 1) << IOPRIO_CLASS_SHIFT | priority
        try:
            libc.call(IOPRIO_SET, IOPRIO_WHO_PROCESS, pid, wanted)
        except OSError as error:
            raise HostError(f"setting ioPriority {word} {priority}: {reason(error)}") from error


def _schedule(pid: int, wanted: Scheduler) -> None:
    flags = 0
    for word in wanted.flags:
        flags |= 1 << scheduling.FLAGS.index(word)
    times = (wanted.runtime, wanted.deadline, wanted.period)
    numbers = (POLICIES[wanted.policy], flags, wanted.nice, wanted.priority, *times, 0, 0)
    memory = libc.buffer(ATTRIBUTES.pack(ATTRIBUTES.size, *numbers))
    try:
        libc.call(SCHED_SETATTR, pid, libc.address(memory), 0)
    except OSError as error:
        hint = None
        if error.errno == errno.EPERM:
            hint = "it takes CAP_SYS_NICE, and SCHED_DEADLINE a process that may run on every CPU: sched_setattr(2)"
        raise HostError(f"setting the scheduler {wanted.policy}: {reason(error)}", hint) from error


def set_cpus(pid: int, cpus: tuple[int, ...], when: str) -> None:
    """Let another process run on these CPUs only (sched_setaffinity(2)). when: which of the two settings it is."""
    try:
        os.sched_setaffinity(pid, cpus)
    except OSError as error:
        raise HostError(f"setting execCPUAffinity.{when}: {reason(error)}") from error


def take_on(process: Process) -> None:
    """*child* Take on what this process has for itself. Raises HostError."""
    if process.personality:
        try:
            libc.call(PERSONALITY, DOMAINS[process.personality])
        except OSError as error:
            raise HostError(f"setting the personality {process.personality}: {reason(error)}") from error
    if process.memory_policy:
        _set_memory_policy(process.memory_policy)


def _set_memory_policy(wanted: MemoryPolicy) -> None:
    mode = scheduling.MEMORY_MODES.index(wanted.mode)
    for word in wanted.flags:
        mode |= MEMORY_FLAGS[word]
    mask = 0
    for node in wanted.nodes:
        mask |= 1 << node
    words = mask.bit_length() // WORD + 1
    memory = libc.buffer(mask.to_bytes(words * WORD // 8, "little"))
    try:  # the kernel takes one bit less than it is told
        libc.call(SET_MEMPOLICY, mode, libc.address(memory) if mask else 0, words * WORD + 1 if mask else 0)
    except OSError as error:
        raise HostError(f"setting the memory policy {wanted.mode}: {reason(error)}") from error
