"""stats: what containers use now, by the numbers of `events` (control groups, or rctl(8))."""

from __future__ import annotations

import os
import time

from runjail.container.status import status
from runjail.errors import ContainerNotFound, NotRunning
from runjail.record import Record
from runjail.sizes import show_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runjail.container.container import Container, Runtime

BLOCK_IO = "ioServiceBytesRecursive"
NANO = 1_000_000_000


class Sample(Record):
    """What a container used up to now. at, cpu: nanoseconds; sizes in bytes; limit: 0 for none.

    traffic: bytes that it received and sent, None where nobody knows.
    """

    id: str
    at: int
    cpu: int
    memory: int
    limit: int
    read: int
    written: int
    pids: int
    traffic: tuple[int, int] | None = None


class Usage(Record):
    """A sample, and how much of one processor was used since the last sample and since the start, in percent."""

    sample: Sample
    percent: float
    average: float


class Meter:
    """Containers that are looked at again and again. ids: which; none for all that run at the time."""

    def __init__(self, runtime: Runtime, ids: list[str]) -> None:
        self.runtime, self.ids = runtime, ids
        self._last: dict[str, Sample] = {}

    def read(self) -> list[Usage]:
        """Return what each uses. Raises ContainerNotFound, NotRunning for one that was named, the first time."""
        found = []
        for container in self._running():
            sample = _sample(container)
            before, begun = self._last.get(container.id), _nanoseconds(container.state.created)
            average = _percent(sample.cpu, sample.at - begun)
            percent = _percent(sample.cpu - before.cpu, sample.at - before.at) if before else average
            self._last[container.id] = sample
            found.append(Usage(sample, percent, average))
        return found

    def _running(self) -> Iterator[Container]:
        for container_id in self.ids or list(self.runtime.ids()):
            try:
                container = self.runtime.find(container_id)
                if status(container) in ("running", "paused"):
                    yield container
                elif self.ids and container_id not in self._last:
                    raise NotRunning(container_id)
            except ContainerNotFound:
                if self.ids and container_id not in self._last:
                    raise


def _sample(container: Container) -> Sample:
    found = container.host.usage(container.host_state)
    memory = found["memory"]["usage"]
    moved = {"read": 0, "write": 0}
    for entry in found["blkio"].get(BLOCK_IO) or []:
        if entry.get("op", "").lower() in moved:
            moved[entry["op"].lower()] += entry["value"]
    return Sample(
        container.id,
        time.time_ns(),
        found["cpu"]["usage"]["total"],
        memory.get("usage", 0),
        _limit(memory.get("limit", 0)),
        moved["read"],
        moved["write"],
        found["pids"]["current"],
        container.host.networks().traffic(container.host_state),
    )


def _limit(limit: int) -> int:
    """Return the memory limit that is in force: never more than the machine has."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return limit if 0 < limit < machine else machine


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole > 0 and part > 0 else 0.0


def _nanoseconds(created: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(created).timestamp() * NANO)


def shown(usage: Usage) -> dict[str, str]:
    """Return what podman's stats calls these numbers, and how it writes them."""
    sample = usage.sample
    return {
        "id": sample.id,
        "name": sample.id,
        "cpu_time": _duration(sample.cpu),
        "cpu_percent": f"{usage.percent:.2f}%",
        "avg_cpu": f"{usage.average:.2f}%",
        "mem_usage": f"{_size(sample.memory)} / {_size(sample.limit)}",
        "mem_percent": f"{_percent(sample.memory, sample.limit):.2f}%",
        "net_io": " / ".join(map(_size, sample.traffic)) if sample.traffic else "-- / --",
        "block_io": f"{_size(sample.read)} / {_size(sample.written)}",
        "pids": str(sample.pids),
    }


def _size(count: int) -> str:
    return show_size(count).replace(" ", "")


def _duration(nanoseconds: int) -> str:
    """Return a duration as Go writes it: in the largest unit of which it has at least one."""
    seconds = nanoseconds / NANO
    if seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:.6g}s"


def usages(meter: Meter, interval: float) -> Iterator[list[dict[str, str]]]:
    """Yield what containers use now, and again every `interval` seconds, as long as one that was named runs."""
    while True:
        found = meter.read()
        yield [shown(usage) for usage in found]
        if meter.ids and not found:
            return
        time.sleep(interval)
