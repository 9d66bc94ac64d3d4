"""Documents that say everything, for tests of what becomes of each property; and what becomes of a document.

Some things exclude each other: those that are not in `FULL` are said beside it, by the test that is about each of them.
"""

from collections.abc import Iterator
from typing import Any

from runjail.errors import InvalidConfig
from runjail.plan.plan import make_plan
from runjail.plan.show import as_data
from runjail.record import to_data
from runjail.spec.parse import parse

HOOK = {"path": "/hook", "args": ["hook", "x"], "env": ["A=b"], "timeout": 5}
IDS = [
    {"containerID": 0, "hostID": 100000, "size": 65536},
    {"containerID": 65536, "hostID": 300000, "size": 5},
]
RATE = [{"major": 8, "minor": 16, "rate": 7}]
PROCESS: dict[str, Any] = {
    "args": ["/bin/true", "x"],
    "cwd": "/tmp",
    "env": ["A=b"],
    "terminal": True,
    "consoleSize": {"height": 40, "width": 120},
    "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}],
    "noNewPrivileges": True,
}
COMMON: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "host",
    "domainname": "domain",
    "mounts": [
        {"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=5"]},
        {"destination": "/data", "type": "nullfs", "source": "/srv", "options": ["ro"]},
    ],
    "hooks": {
        kind: [{**HOOK}]
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "annotations": {"a": "b"},
}
RESOURCES: dict[str, Any] = {
    "memory": {"limit": 1 << 20, "reservation": 4096, "swap": 2 << 20, "swappiness": 7, "disableOOMKiller": True}
    | {"checkBeforeUpdate": True},
    "cpu": {"shares": 2, "quota": 3000, "period": 4000, "burst": 5, "realtimeRuntime": 6, "realtimePeriod": 7}
    | {"cpus": "0", "mems": "0", "idle": 1},
    "pids": {"limit": 8},
    "devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
    "blockIO": {"weight": 10, "leafWeight": 11, "throttleReadBpsDevice": RATE, "throttleWriteBpsDevice": RATE}
    | {"throttleReadIOPSDevice": RATE, "throttleWriteIOPSDevice": RATE}
    | {"weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
    "network": {"classID": 14, "priorities": [{"name": "eth0", "priority": 15}]},
    "rdma": {"mlx5_1": {"hcaHandles": 16, "hcaObjects": 17}},
    "unified": {"memory.high": "18"},
}
NAMESPACES = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "cgroup", "time")]
NAMESPACES += [{"type": "network", "path": "/run/netns/x"}]
SECCOMP: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 5,
    "architectures": ["SCMP_ARCH_X86"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "listenerPath": "/run/agent",
    "listenerMetadata": "m",
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_NOTIFY"},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 6,
            "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    ],
}
FULL: dict[str, dict[str, Any]] = {
    "linux": COMMON
    | {
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/data", "type": "bind", "source": "/srv", "options": ["ro"]},
        ],
        "process": PROCESS
        | {
            "capabilities": {
                kind: ["CAP_KILL"] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
            },
            "oomScoreAdj": 9,
            "apparmorProfile": "a",
            "selinuxLabel": "b",
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "execCPUAffinity": {"initial": "0", "final": "0-1"},
        },
        "freebsd": {"jail": {"vnet": "inherit", "ip4": "inherit", "ip6": "inherit"}},
        "linux": {
            "namespaces": NAMESPACES,
            "timeOffsets": {clock: {"secs": 5, "nanosecs": 6} for clock in ("monotonic", "boottime")},
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 384, "uid": 3, "gid": 4}],
            "netDevices": {"eth1": {"name": "lan"}},
            "cgroupsPath": "/g",
            "resources": RESOURCES,
            "rootfsPropagation": "slave",
            "seccomp": SECCOMP,
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "mountLabel": "c",
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "personality": {"domain": "LINUX32"},
        },
    },
    "freebsd": COMMON
    | {
        "process": PROCESS
        | {"scheduler": {"policy": "SCHED_RR", "nice": 5, "priority": 6}}
        | {"execCPUAffinity": {"initial": "0", "final": "0-1"}},
        "freebsd": {
            "devices": [{"path": "pf", "mode": 256}],
            "jail": {
                "parent": "outer", "host": "new", "ip4": "new", "ip4Addr": ["10.0.0.2/24"], "ip6": "new",
                "ip6Addr": ["fd00::2/64"], "interface": "lo1", "sysvmsg": "inherit", "sysvsem": "inherit",
                "sysvshm": "inherit", "enforceStatfs": 1,
                "allow": {
                    "setHostname": True, "rawSockets": True, "chflags": True, "mount": ["tmpfs"], "quotas": True,
                    "socketAf": True, "mlock": True, "reservedPorts": True, "suser": True,
                },
            },
        },
        "linux": {
            "resources": {
                "memory": {"limit": 1 << 20, "swap": 2 << 20}, "cpu": {"quota": 3000, "period": 4000, "cpus": "0"},
                "pids": {"limit": 8},
            }
        },
    },
}  # fmt: skip


def outcome(document: Any, os: str) -> tuple[tuple[str, ...], dict[str, Any], tuple[str, ...]]:
    """Return the problems, what would be done, and what has no effect."""
    try:
        spec = parse(document, os)
        plan = make_plan(spec, container_id="c", bundle="/b", state="/s", os=os)
    except InvalidConfig as error:
        return error.problems, {}, ()
    kept = {"annotations": to_data(spec.annotations), "version": spec.oci_version}
    if spec.linux.seccomp and spec.linux.seccomp.listener:  # `create` and `exec` read in config.json what is told there
        kept["listener"] = document["linux"]["seccomp"].get("listenerMetadata")
    return (), as_data(plan, spec) | kept, spec.unused


def properties(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the place of every property, a list written as [], a map as `*`; kinds of hooks share their entries."""
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        yield place
        items = inner.get("items") or inner.get("additionalProperties") or {}
        below = "hooks.*[]" if path == "hooks" else f"{place}{'[]' if 'items' in inner else '.*'}" if items else place
        yield from properties(items or inner, below)
