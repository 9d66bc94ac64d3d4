"""process.scheduler and execCPUAffinity on FreeBSD: rtprio(2), setpriority(2), cpuset_setaffinity(2).

All of it from outside, by who is no prisoner: a jail's root may not raise priorities. SCHED_FIFO and SCHED_RR are the
two real-time classes, SCHED_IDLE the idle one; their 32 priorities count downwards for rtprio(2), where
sched_setscheduler(2), whose words these are, counts upwards.
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.freebsd.libc import Libc
    from runjail.spec.scheduling import Scheduler

RTP_PRIO_MAX = 31
CLASSES = {"SCHED_FIFO": 10, "SCHED_RR": 2, "SCHED_OTHER": 3, "SCHED_IDLE": 4}  # RTP_PRIO_ of sys/rtprio.h


def schedule(libc: Libc, pid: int, wanted: Scheduler) -> None:
    """Give a process its class, its priority in it, and its nice value. Raises HostError."""
    priority = {"SCHED_OTHER": 0, "SCHED_IDLE": RTP_PRIO_MAX}.get(wanted.policy, RTP_PRIO_MAX - wanted.priority)
    try:
        libc.rtprio(pid, CLASSES[wanted.policy], priority)
        os.setpriority(os.PRIO_PROCESS, pid, wanted.nice)
    except OSError as error:
        raise HostError(f"setting the scheduler {wanted.policy}: {reason(error)}") from error


def set_cpus(libc: Libc, pid: int, cpus: tuple[int, ...], when: str) -> None:
    """Let a process run on these CPUs only. when: which of the two settings it is."""
    try:
        libc.set_process_cpus(pid, cpus)
    except OSError as error:
        raise HostError(f"setting execCPUAffinity.{when}: {reason(error)}") from error
