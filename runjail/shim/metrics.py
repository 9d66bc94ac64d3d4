"""A container's use of resources in the form that containerd's clients print: io.containerd.cgroups.v1.Metrics."""

from __future__ import annotations

from runjail import protobuf
from runjail.shim import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.protobuf import Message

TYPE = "io.containerd.cgroups.v1.Metrics"


def metrics(usage: dict[str, Any]) -> Message:
    """Return google.protobuf.Any for runc's stats document; what the system does not count is 0.

    The older form of the two, on every system: its fields are those of that document, and all clients read it.
    """
    cpu, memory, pids = usage["cpu"], usage["memory"], usage["pids"]
    spent, held = cpu["usage"], cpu["throttling"]
    message = {
        "pids": {"current": pids["current"], "limit": pids["limit"]},
        "cpu": {
            "usage": {"total": spent["total"], "kernel": spent.get("kernel", 0), "user": spent.get("user", 0)},
            "throttling": {
                "periods": held.get("periods", 0),
                "throttled_periods": held.get("throttledPeriods", 0),
                "throttled_time": held.get("throttledTime", 0),
            },
        },
        "memory": {
            "cache": memory.get("cache", 0),
            "usage": {name: memory["usage"].get(name, 0) for name in ("limit", "usage", "max", "failcnt")},
            "swap": {name: memory.get("swap", {}).get(name, 0) for name in ("limit", "usage", "max", "failcnt")},
        },
    }
    return {"type_url": TYPE, "value": protobuf.encode(messages.METRICS, message)}
