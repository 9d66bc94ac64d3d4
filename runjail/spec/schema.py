"""The shapes of config.json, as one JSON Schema (draft 2020-12) of our own writing.

The single source for shapes: `conforms` walks it, `explain` hands it to jsonschema, docs/spec-coverage.md is tested
against it. A Python value rather than a .json file because a compiled module loads faster than JSON parses.
What a value means, and whether the kernel would take it, is for parse; here is only what may stand where.

Conventions: unknown properties are always allowed, and so are the windows, solaris, vm and zos sections. Go clients
write null for an empty list, map or pointer, hence null is allowed wherever such a property is optional. `integer`
means a number written without fraction and exponent. The root schema describes config.json; its `$defs` hold the
parts: `config`, which the Linux host goes by, `freebsd-config`, to which nothing but limits matters in the linux
section, `process` (also exec's document) and `resources` (also update's).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}
COUNT32: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
WEIGHT: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**16 - 1}
NUMBER: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
ID: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 2}  # 2**32-1 means "leave as it is" to setuid(2)


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _optional(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _list(items: Schema) -> Schema:
    return {"type": ["array", "null"], "items": items}


def _map(values: Schema) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": values}


def _one_of(*words: str) -> Schema:
    return {"enum": list(words)}


HOOK = _object(
    {
        "path": STRING,
        "args": _list(STRING),
        "env": _list(STRING),
        "timeout": {"type": ["integer", "null"], "minimum": 1, "maximum": 86400},
    },
    required=("path",),
)

HOOK_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

ID_MAPPINGS = _list(
    _object({"containerID": ID, "hostID": ID, "size": COUNT}, required=("containerID", "hostID", "size"))
)

MOUNT = _object(
    {
        "destination": STRING,
        "type": STRING,
        "source": STRING,
        "options": _list(STRING),
        "uidMappings": ID_MAPPINGS,
        "gidMappings": ID_MAPPINGS,
    },
    required=("destination",),
)

USER = _object(
    {
        "uid": ID,
        "gid": ID,
        "umask": {"type": ["integer", "null"], "minimum": 0, "maximum": 0o777},
        "additionalGids": _list(ID),
        "username": STRING,
    }
)


SCHEDULER = _object(
    {
        "policy": STRING,
        "nice": INT32,
        "priority": INT32,
        "flags": _list(STRING),
        "runtime": COUNT,
        "deadline": COUNT,
        "period": COUNT,
    },
    required=("policy",),
)

PROCESS = _object(
    {
        "args": {"type": "array", "minItems": 1, "items": STRING},
        "commandLine": STRING,
        "cwd": STRING,
        "env": _list(STRING),
        "terminal": FLAG,
        "consoleSize": _optional(_object({"height": COUNT, "width": COUNT}, required=("height", "width"))),
        "user": _optional(USER),
        "rlimits": _list(_object({"type": STRING, "soft": COUNT, "hard": COUNT}, required=("type", "soft", "hard"))),
        "noNewPrivileges": FLAG,
        "capabilities": _optional(
            _object(
                {
                    "bounding": _list(STRING),
                    "effective": _list(STRING),
                    "inheritable": _list(STRING),
                    "permitted": _list(STRING),
                    "ambient": _list(STRING),
                }
            )
        ),
        "oomScoreAdj": {"type": ["integer", "null"], "minimum": -1000, "maximum": 1000},
        "apparmorProfile": STRING,
        "selinuxLabel": STRING,
        "scheduler": _optional(SCHEDULER),
        "ioPriority": _optional(_object({"class": STRING, "priority": INT32}, required=("class",))),
        "execCPUAffinity": _optional(_object({"initial": STRING, "final": STRING})),
    },
    required=("args", "cwd"),
)

SHARING = _one_of("disable", "new", "inherit")
SHARED_OR_OWN = _one_of("new", "inherit")

JAIL = _object(
    {
        "parent": STRING,
        "host": SHARED_OR_OWN,
        "ip4": SHARING,
        "ip4Addr": _list(STRING),
        "ip6": SHARING,
        "ip6Addr": _list(STRING),
        "vnet": SHARED_OR_OWN,
        "interface": STRING,
        "vnetInterfaces": _list(STRING),
        "sysvmsg": SHARING,
        "sysvsem": SHARING,
        "sysvshm": SHARING,
        "enforceStatfs": {"type": ["integer", "null"], "minimum": 0, "maximum": 2},
        "allow": _optional(
            _object(
                {
                    "setHostname": FLAG,
                    "rawSockets": FLAG,
                    "chflags": FLAG,
                    "mount": _list(STRING),
                    "quotas": FLAG,
                    "socketAf": FLAG,
                    "mlock": FLAG,
                    "reservedPorts": FLAG,
                    "suser": FLAG,
                }
            )
        ),
    }
)

DEVICE = _object(
    {"path": STRING, "mode": {"type": ["integer", "null"], "minimum": 0, "maximum": 0o777}}, required=("path",)
)

FREEBSD = _object({"devices": _list(DEVICE), "jail": _optional(JAIL)})

DEVICE_RULE = _object(
    {
        "allow": FLAG,
        "type": _one_of("a", "b", "c"),
        "major": _optional(NUMBER),
        "minor": _optional(NUMBER),
        "access": STRING,
    },
    required=("allow",),
)

BLOCK_DEVICE = {"major": NUMBER, "minor": NUMBER}
RATES = _list(_object(BLOCK_DEVICE | {"rate": COUNT}, required=("major", "minor")))
BLOCK_IO = _object(
    {
        "weight": WEIGHT,
        "leafWeight": WEIGHT,
        "weightDevice": _list(
            _object(BLOCK_DEVICE | {"weight": WEIGHT, "leafWeight": WEIGHT}, required=("major", "minor"))
        ),
        "throttleReadBpsDevice": RATES,
        "throttleWriteBpsDevice": RATES,
        "throttleReadIOPSDevice": RATES,
        "throttleWriteIOPSDevice": RATES,
    }
)
PRIORITIES = _list(_object({"name": STRING, "priority": COUNT32}, required=("name", "priority")))

RESOURCES = _object(
    {
        "memory": _optional(
            _object(
                {
                    "limit": _optional(NUMBER),
                    "reservation": _optional(NUMBER),
                    "swap": _optional(NUMBER),
                    "kernel": _optional(NUMBER),
                    "kernelTCP": _optional(NUMBER),
                    "swappiness": _optional(COUNT),
                    "disableOOMKiller": _optional(FLAG),
                    "useHierarchy": _optional(FLAG),
                    "checkBeforeUpdate": _optional(FLAG),
                }
            )
        ),
        "cpu": _optional(
            _object(
                {
                    "shares": _optional(COUNT),
                    "quota": _optional(NUMBER),
                    "burst": _optional(COUNT),
                    "period": _optional(COUNT),
                    "realtimeRuntime": _optional(NUMBER),
                    "realtimePeriod": _optional(COUNT),
                    "cpus": STRING,
                    "mems": STRING,
                    "idle": _optional(NUMBER),
                }
            )
        ),
        "pids": _optional(_object({"limit": _optional(NUMBER)})),
        "devices": _list(DEVICE_RULE),
        "blockIO": _optional(BLOCK_IO),
        "hugepageLimits": _list(_object({"pageSize": STRING, "limit": COUNT}, required=("pageSize", "limit"))),
        "network": _optional(_object({"classID": _optional(COUNT32), "priorities": PRIORITIES})),
        "rdma": _map(_optional(_object({"hcaHandles": _optional(COUNT32), "hcaObjects": _optional(COUNT32)}))),
        "unified": _map(STRING),
    }
)

# fileMode carries the file type bits when it comes from podman (8612 is a character device of mode 0644)
LINUX_DEVICE = _object(
    {
        "path": STRING,
        "type": _one_of("c", "b", "u", "p"),
        "major": NUMBER,
        "minor": NUMBER,
        "fileMode": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 1},
        "uid": _optional(ID),
        "gid": _optional(ID),
    },
    required=("path", "type"),
)

SECCOMP = _object(
    {
        "defaultAction": STRING,
        "defaultErrnoRet": COUNT,
        "architectures": _list(STRING),
        "flags": _list(STRING),
        "listenerPath": STRING,
        "listenerMetadata": STRING,
        "syscalls": _list(
            _object(
                {
                    "names": _list(STRING),
                    "action": STRING,
                    "errnoRet": COUNT,
                    "args": _list(
                        _object(
                            {"index": COUNT, "value": COUNT, "valueTwo": COUNT, "op": STRING},
                            required=("index", "value", "op"),
                        )
                    ),
                },
                required=("names", "action"),
            )
        ),
    }
)

TIME_OFFSET = _optional(_object({"secs": NUMBER, "nanosecs": COUNT}))

LINUX = _object(
    {
        "namespaces": _list(_object({"type": STRING, "path": STRING}, required=("type",))),
        "uidMappings": ID_MAPPINGS,
        "gidMappings": ID_MAPPINGS,
        "timeOffsets": _optional(_object({"monotonic": TIME_OFFSET, "boottime": TIME_OFFSET})),
        "devices": _list(LINUX_DEVICE),
        "netDevices": _map(_optional(_object({"name": STRING}))),
        "cgroupsPath": STRING,
        "resources": _optional(RESOURCES),
        "rootfsPropagation": STRING,
        "seccomp": _optional(SECCOMP),
        "sysctl": _map(STRING),
        "maskedPaths": _list(STRING),
        "readonlyPaths": _list(STRING),
        "mountLabel": STRING,
        "intelRdt": _optional(
            _object(
                {
                    "closID": STRING,
                    "schemata": _list(STRING),
                    "l3CacheSchema": STRING,
                    "memBwSchema": STRING,
                    "enableMonitoring": FLAG,
                }
            )
        ),
        "memoryPolicy": _optional(
            _object({"mode": STRING, "nodes": STRING, "flags": _list(STRING)}, required=("mode",))
        ),
        "personality": _optional(_object({"domain": STRING, "flags": _list(STRING)}, required=("domain",))),
    }
)

COMMON: Schema = {
    "ociVersion": STRING,
    "root": _object({"path": STRING, "readonly": FLAG}, required=("path",)),
    "process": _optional(PROCESS),
    "hostname": STRING,
    "domainname": STRING,
    "mounts": _list(MOUNT),
    "hooks": _optional(_object({kind: _list(HOOK) for kind in HOOK_KINDS})),
    "annotations": _map(STRING),
    "freebsd": _optional(FREEBSD),
}
NEEDED = ("ociVersion", "root")
LIMITS_ONLY = _optional(_object({"resources": _optional(RESOURCES)}))

SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "config.json of an OCI bundle, as runjail reads it",
    "$ref": "#/$defs/config",
    "$defs": {
        "config": _object(COMMON | {"linux": _optional(LINUX)}, required=NEEDED),
        "freebsd-config": _object(COMMON | {"linux": LIMITS_ONLY}, required=NEEDED),
        "process": PROCESS,
        "hook": HOOK,
        "mount": MOUNT,
        "freebsd": FREEBSD,
        "linux": LINUX,
        "resources": RESOURCES,
    },
}
