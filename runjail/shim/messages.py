"""The messages of a shim, as tables for `wire`: ttRPC, the task service, its events and metrics.

Field numbers are containerd's api/ directory: runtime/task/v2 (v3 is the same), events, types, ttrpc's request.proto,
and cgroups' stats/v1/metrics.proto.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.protobuf import Table

EMPTY: Table = {}
ANY: Table = {1: ("type_url", "s"), 2: ("value", "y")}
TIMESTAMP = {1: ("seconds", "i"), 2: ("nanos", "i")}

# ttRPC
PAIR = {1: ("key", "s"), 2: ("value", "s")}
REQUEST = {
    1: ("service", "s"),
    2: ("method", "s"),
    3: ("payload", "y"),
    4: ("timeout_nano", "i"),
    5: ("metadata", [PAIR]),
}
STATUS = {1: ("code", "i"), 2: ("message", "s"), 3: ("details", [ANY])}
RESPONSE = {1: ("status", STATUS), 2: ("payload", "y")}

# Starting a shim
BOOTSTRAP = {
    1: ("instance_id", "s"),
    2: ("namespace", "s"),
    3: ("log_level", "i"),
    5: ("containerd_ttrpc_address", "s"),
    6: ("containerd_grpc_address", "s"),
    7: ("containerd_binary", "s"),
    9: ("socket_dir", "s"),
}
VERSION = {1: ("version", "s"), 2: ("revision", "s")}
INFO = {1: ("name", "s"), 2: ("version", VERSION), 3: ("options", ANY), 4: ("features", ANY), 5: ("annotations", "m")}
JOIN = {1: ("id", "s")}  # runjail.shim.Group: our own, between `start` and `delete` and a shim that runs

# Tasks
MOUNT = {1: ("type", "s"), 2: ("source", "s"), 3: ("target", "s"), 4: ("options", ["s"])}
PROCESS_INFO = {1: ("pid", "u"), 2: ("info", ANY)}
PROCESS_DETAILS = {1: ("exec_id", "s")}
OPTIONS = {
    7: ("root", "s"),
    9: ("systemd_cgroup", "b"),
}  # containerd.runc.v1.Options; what else it has does not concern a jail
ID = {1: ("id", "s")}
PROCESS = {1: ("id", "s"), 2: ("exec_id", "s")}
CREATE = {
    1: ("id", "s"),
    2: ("bundle", "s"),
    3: ("rootfs", [MOUNT]),
    4: ("terminal", "b"),
    5: ("stdin", "s"),
    6: ("stdout", "s"),
    7: ("stderr", "s"),
    8: ("checkpoint", "s"),
    9: ("parent_checkpoint", "s"),
    10: ("options", ANY),
}
PID = {1: ("pid", "u")}
ENDED = {1: ("pid", "u"), 2: ("exit_status", "u"), 3: ("exited_at", TIMESTAMP)}
STATE = {
    1: ("id", "s"),
    2: ("bundle", "s"),
    3: ("pid", "u"),
    4: ("status", "u"),
    5: ("stdin", "s"),
    6: ("stdout", "s"),
    7: ("stderr", "s"),
    8: ("terminal", "b"),
    9: ("exit_status", "u"),
    10: ("exited_at", TIMESTAMP),
    11: ("exec_id", "s"),
}
PIDS = {1: ("processes", [PROCESS_INFO])}
KILL = {1: ("id", "s"), 2: ("exec_id", "s"), 3: ("signal", "u"), 4: ("all", "b")}
EXEC = {
    1: ("id", "s"),
    2: ("exec_id", "s"),
    3: ("terminal", "b"),
    4: ("stdin", "s"),
    5: ("stdout", "s"),
    6: ("stderr", "s"),
    7: ("spec", ANY),
}
RESIZE = {1: ("id", "s"), 2: ("exec_id", "s"), 3: ("width", "u"), 4: ("height", "u")}
CLOSE_IO = {1: ("id", "s"), 2: ("exec_id", "s"), 3: ("stdin", "b")}
UPDATE = {1: ("id", "s"), 2: ("resources", ANY), 3: ("annotations", "m")}
WAITED = {1: ("exit_status", "u"), 2: ("exited_at", TIMESTAMP)}
STATS = {1: ("stats", ANY)}
CONNECTED = {1: ("shim_pid", "u"), 2: ("task_pid", "u"), 3: ("version", "s")}
SHUTDOWN = {1: ("id", "s"), 2: ("now", "b")}

# Events
IO = {1: ("stdin", "s"), 2: ("stdout", "s"), 3: ("stderr", "s"), 4: ("terminal", "b")}
EVENTS: dict[str, tuple[str, Table]] = {  # by topic: name below containerd.events, and table
    "/tasks/create": (
        "TaskCreate",
        {
            1: ("container_id", "s"),
            2: ("bundle", "s"),
            3: ("rootfs", [MOUNT]),
            4: ("io", IO),
            5: ("checkpoint", "s"),
            6: ("pid", "u"),
        },
    ),
    "/tasks/start": ("TaskStart", {1: ("container_id", "s"), 2: ("pid", "u")}),
    "/tasks/exit": (
        "TaskExit",
        {
            1: ("container_id", "s"),
            2: ("id", "s"),
            3: ("pid", "u"),
            4: ("exit_status", "u"),
            5: ("exited_at", TIMESTAMP),
        },
    ),
    "/tasks/delete": (
        "TaskDelete",
        {
            1: ("container_id", "s"),
            2: ("pid", "u"),
            3: ("exit_status", "u"),
            4: ("exited_at", TIMESTAMP),
            5: ("id", "s"),
        },
    ),
    "/tasks/exec-added": ("TaskExecAdded", {1: ("container_id", "s"), 2: ("exec_id", "s")}),
    "/tasks/exec-started": ("TaskExecStarted", {1: ("container_id", "s"), 2: ("exec_id", "s"), 3: ("pid", "u")}),
    "/tasks/oom": ("TaskOOM", {1: ("container_id", "s")}),
    "/tasks/paused": ("TaskPaused", {1: ("container_id", "s")}),
    "/tasks/resumed": ("TaskResumed", {1: ("container_id", "s")}),
}
ENVELOPE = {1: ("timestamp", TIMESTAMP), 2: ("namespace", "s"), 3: ("topic", "s"), 4: ("event", ANY)}
FORWARD = {1: ("envelope", ENVELOPE)}

# Metrics
MEMORY_ENTRY = {1: ("limit", "u"), 2: ("usage", "u"), 3: ("max", "u"), 4: ("failcnt", "u")}
METRICS = {
    2: ("pids", {1: ("current", "u"), 2: ("limit", "u")}),
    3: (
        "cpu",
        {
            1: ("usage", {1: ("total", "u"), 2: ("kernel", "u"), 3: ("user", "u"), 4: ("per_cpu", ["u"])}),
            2: ("throttling", {1: ("periods", "u"), 2: ("throttled_periods", "u"), 3: ("throttled_time", "u")}),
        },
    ),
    4: ("memory", {1: ("cache", "u"), 2: ("rss", "u"), 33: ("usage", MEMORY_ENTRY), 34: ("swap", MEMORY_ENTRY)}),
}
