"""The messages of a shim, as tables for `protobuf`: ttRPC, the task service, its events and metrics.

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

# Metrics: cgroups' stats/v1/metrics.proto and cgroup2/stats/metrics.proto


def _numbers(*names: str) -> Table:
    """Return a table of unsigned numbers, counted from 1."""
    return {number: (name, "u") for number, name in enumerate(names, 1)}


MEMORY_ENTRY = _numbers("limit", "usage", "max", "failcnt")
MEMORY_KINDS = (
    *("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pg_pg_in", "pg_pg_out", "pg_fault"),
    *("pg_maj_fault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
)
MEMORY_V1: Table = {
    **_numbers(
        *MEMORY_KINDS,
        *("hierarchical_memory_limit", "hierarchical_swap_limit"),
        *(f"total_{name}" for name in MEMORY_KINDS),
    ),
    33: ("usage", MEMORY_ENTRY),
    34: ("swap", MEMORY_ENTRY),
    35: ("kernel", MEMORY_ENTRY),
    36: ("kernel_tcp", MEMORY_ENTRY),
}
PIDS_STAT = _numbers("current", "limit")
HUGETLB_V1: Table = {**_numbers("usage", "max", "failcnt"), 4: ("pagesize", "s")}
OOM_CONTROL = _numbers("oom_kill_disable", "under_oom", "oom_kill")
BLKIO_ENTRY: Table = {
    1: ("op", "s"),
    2: ("device", "s"),
    3: ("major", "u"),
    4: ("minor", "u"),
    5: ("value", "u"),
}
BLKIO: Table = {
    number: (f"{name}_recursive", [BLKIO_ENTRY])
    for number, name in enumerate(
        (
            *("io_service_bytes", "io_serviced", "io_queued", "io_service_time", "io_wait_time", "io_merged"),
            *("io_time", "sectors"),
        ),
        1,
    )
}
RDMA_ENTRY: Table = {1: ("device", "s"), 2: ("hca_handles", "u"), 3: ("hca_objects", "u")}
RDMA: Table = {1: ("current", [RDMA_ENTRY]), 2: ("limit", [RDMA_ENTRY])}
CPU_USAGE: Table = {**_numbers("total", "kernel", "user"), 4: ("per_cpu", ["u"])}
METRICS_V1: Table = {
    1: ("hugetlb", [HUGETLB_V1]),
    2: ("pids", PIDS_STAT),
    3: (
        "cpu",
        {1: ("usage", CPU_USAGE), 2: ("throttling", _numbers("periods", "throttled_periods", "throttled_time"))},
    ),
    4: ("memory", MEMORY_V1),
    5: ("blkio", BLKIO),
    6: ("rdma", RDMA),
    9: ("memory_oom_control", OOM_CONTROL),
}
PRESSURE: Table = {1: ("avg10", "d"), 2: ("avg60", "d"), 3: ("avg300", "d"), 4: ("total", "u")}
PSI: Table = {1: ("some", PRESSURE), 2: ("full", PRESSURE)}
MEMORY_V2: Table = {
    **_numbers(
        *("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback"),
        *("anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
        *("slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault"),
        *("workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate"),
        *("pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc"),
        *("usage", "usage_limit", "swap_usage", "swap_limit", "max_usage", "swap_max_usage"),
    ),
    38: ("psi", PSI),
}
CPU_V2: Table = {
    **_numbers("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec"),
    7: ("psi", PSI),
}
MEMORY_EVENTS = _numbers("low", "high", "max", "oom", "oom_kill")
METRICS_V2: Table = {
    1: ("pids", PIDS_STAT),
    2: ("cpu", CPU_V2),
    4: ("memory", MEMORY_V2),
    5: ("rdma", RDMA),
    6: ("io", {1: ("usage", [_numbers("major", "minor", "rbytes", "wbytes", "rios", "wios")]), 2: ("psi", PSI)}),
    7: ("hugetlb", [{1: ("current", "u"), 2: ("max", "u"), 3: ("pagesize", "s")}]),
    8: ("memory_events", MEMORY_EVENTS),
}
