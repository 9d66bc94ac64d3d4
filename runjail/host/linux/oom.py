"""Processes of a control group that were killed for want of memory.

The kernel says when, and keeps count.
"""

from __future__ import annotations

import os
import select

from runjail.host.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import HostState

V1 = "memory.oom_control"


class OomWatch:
    """A group that is watched. descriptor: poll(2) it for `events`; then call `acknowledge`, and look at `kills`.

    v1 tells by an eventfd that memory has run out, just before it kills somebody (memory.rst, OOM Control); v2 by
    POLLPRI that a number in the file has changed (cgroup-v2.rst, memory.events).
    """

    def __init__(self, path: str) -> None:
        """Watch the group whose file this is. Raises OSError."""
        self._path = path
        if os.path.basename(path) == V1:
            self.events = select.POLLIN
            self.descriptor = _eventfd(path)
        else:
            self.events = select.POLLPRI
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.acknowledge()

    def acknowledge(self) -> None:
        """Read the notification, so that poll(2) waits for the next one."""
        if self.events == select.POLLPRI:
            os.pread(self.descriptor, 4096, 0)
        else:
            os.read(self.descriptor, 8)

    def kills(self) -> int:
        """Return how many processes were killed since the group was made; 0 when it is gone."""
        return kills(self._path)

    def close(self) -> None:
        """Watch no more."""
        os.close(self.descriptor)


def _eventfd(path: str) -> int:
    """Return an eventfd(2) that is written to when memory runs out (memory.rst, cgroup.event_control)."""
    descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            cgroups.write(f"{os.path.dirname(path)}/cgroup.event_control", f"{descriptor} {control}")
        finally:
            os.close(control)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def file(host_state: HostState) -> str:
    """Return the path of the file that counts a container's kills, "" without a group."""
    if not host_state.cgroup:
        return ""
    if cgroups.unified():
        return f"{cgroups.TOP}/{host_state.cgroup}/memory.events"
    return f"{cgroups.TOP}/memory/{host_state.cgroup}/{V1}"


def kills(path: str) -> int:
    """Return how many processes were killed since the group was made; 0 when it is gone, or has no file ("")."""
    return counts(path).get("oom_kill", 0) if path else 0


def counts(path: str) -> dict[str, int]:
    """Return the names and numbers in such a file, none when it cannot be read."""
    rows = [line.split() for line in cgroups.content(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
