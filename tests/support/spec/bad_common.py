"""Documents that are refused whatever the platform: the container, process, mounts, hooks, other documents."""

from tests.support.spec.bad import ABSENT, Bad

COMMON = [
    Bad("no version", {"ociVersion": ABSENT}, "ociVersion: is required"),
    Bad("version is a number", {"ociVersion": 1}, "ociVersion: must be a string, not a number"),
    Bad(
        "version of the last century",
        {"ociVersion": "0.2.0"},
        'ociVersion: must be version 1.x.y of the runtime specification, not "0.2.0"',
    ),
    Bad(
        "version of the next century",
        {"ociVersion": "2.0.0"},
        'ociVersion: must be version 1.x.y of the runtime specification, not "2.0.0"',
    ),
    Bad(
        "half a version",
        {"ociVersion": "1.0"},
        'ociVersion: must be version 1.x.y of the runtime specification, not "1.0"',
    ),
    Bad("no root", {"root": ABSENT}, "root: is required"),
    Bad("root is null", {"root": None}, "root: must be an object, not null"),
    Bad("root is a string", {"root": "rootfs"}, "root: must be an object, not a string"),
    Bad("root without path", {"root/path": ABSENT}, "root.path: is required"),
    Bad("empty root path", {"root/path": ""}, "root.path: must not be empty"),
    Bad("NUL in root path", {"root/path": "a\0b"}, "root.path: must not contain a NUL character"),
    Bad("readonly is a string", {"root/readonly": "true"}, "root.readonly: must be true or false, not a string"),
    Bad("long hostname", {"hostname": "h" * 256}, "hostname: must be at most 255 characters long, not 256"),
    Bad("long hostname", {"hostname": "h" * 65}, "hostname: must be at most 64 characters long, not 65", "linux"),
    Bad(
        "hostname with a blank",
        {"hostname": "a b"},
        'hostname: must be printable ASCII without blanks, not "a b"',
    ),
    Bad(
        "domainname with a line end",
        {"domainname": "a\n"},
        'domainname: must be printable ASCII without blanks, not "a\\n"',
    ),
    Bad("annotation is no string", {"annotations/x": 1}, "annotations.x: must be a string, not a number"),
    Bad("annotation without key", {"annotations": {"": "x"}}, "annotations: keys must not be empty"),
    Bad(
        "three mistakes at once",
        {"root/path": "", "process/cwd": "tmp", "process/env": ["HOME"]},
        'process.cwd: must be an absolute path, not "tmp"; '
        'process.env[0]: must be NAME=VALUE, not "HOME"; root.path: must not be empty',
    ),
]

PROCESS = [
    Bad("process is a list", {"process": []}, "process: must be an object, not a list"),
    Bad("no arguments", {"process/args": ABSENT}, "process.args: is required"),
    Bad("empty arguments", {"process/args": []}, "process.args: must not be empty"),
    Bad("arguments are a string", {"process/args": "sh -c"}, "process.args: must be a list, not a string"),
    Bad("argument is a number", {"process/args/1": 5}, "process.args[1]: must be a string, not a number"),
    Bad("NUL in argument", {"process/args/1": "a\0"}, "process.args[1]: must not contain a NUL character"),
    Bad(
        "lone surrogate in argument",
        {"process/args/1": "\ud800"},
        "process.args[1]: must be Unicode text, without lone surrogates",
    ),
    Bad("no cwd", {"process/cwd": ABSENT}, "process.cwd: is required"),
    Bad("relative cwd", {"process/cwd": "tmp"}, 'process.cwd: must be an absolute path, not "tmp"'),
    Bad("empty cwd", {"process/cwd": ""}, 'process.cwd: must be an absolute path, not ""'),
    Bad("environment without value", {"process/env/0": "HOME"}, 'process.env[0]: must be NAME=VALUE, not "HOME"'),
    Bad("environment without name", {"process/env/0": "=x"}, 'process.env[0]: must be NAME=VALUE, not "=x"'),
    Bad("environment is an object", {"process/env": {"A": "b"}}, "process.env: must be a list, not an object"),
    Bad("terminal is a number", {"process/terminal": 1}, "process.terminal: must be true or false, not a number"),
    Bad(
        "console without rows",
        {"process/terminal": True, "process/consoleSize": {"height": 0, "width": 80}},
        "process.consoleSize.height: must be between 1 and 65535, not 0",
    ),
    Bad(
        "console too wide",
        {"process/terminal": True, "process/consoleSize": {"height": 25, "width": 65536}},
        "process.consoleSize.width: must be between 1 and 65535, not 65536",
    ),
    Bad(
        "console without width",
        {"process/consoleSize": {"height": 25}},
        "process.consoleSize.width: is required",
    ),
    Bad(
        "negative uid",
        {"process/user/uid": -1},
        "process.user.uid: must be between 0 and 4294967294, not -1",
    ),
    Bad(
        "uid that means no change",
        {"process/user/uid": 2**32 - 1},
        "process.user.uid: must be between 0 and 4294967294, not 4294967295",
    ),
    Bad(
        "uid that would wrap to root",
        {"process/user/uid": 2**32},
        "process.user.uid: must be between 0 and 4294967294, not 4294967296",
    ),
    Bad("uid is a name", {"process/user/uid": "root"}, "process.user.uid: must be a whole number, not a string"),
    Bad("uid is true", {"process/user/uid": True}, "process.user.uid: must be a whole number, not true"),
    Bad(
        "gid with a fraction",
        {"process/user/gid": 3.0},
        "process.user.gid: must be a whole number without fraction or exponent, not 3.0",
    ),
    Bad("umask too wide", {"process/user/umask": 0o1000}, "process.user.umask: must be between 0 and 511, not 512"),
    Bad(
        "negative group",
        {"process/user/additionalGids": [5, -5]},
        "process.user.additionalGids[1]: must be between 0 and 4294967294, not -5",
    ),
    Bad(
        "too many groups",
        {"process/user/additionalGids": list(range(1023))},
        "process.user.additionalGids: must hold at most 1021 groups, not 1023",
    ),
    Bad(
        "limit of the other system",
        {"process/rlimits/0/type": "RLIMIT_SIGPENDING"},
        'process.rlimits[0].type: "RLIMIT_SIGPENDING" is not a limit of FreeBSD',
    ),
    Bad(
        "limit of the other system",
        {"process/rlimits/0/type": "RLIMIT_KQUEUES"},
        'process.rlimits[0].type: "RLIMIT_KQUEUES" is not a limit of Linux',
        "linux",
    ),
    Bad(
        "limit without its prefix",
        {"process/rlimits/0/type": "NOFILE"},
        'process.rlimits[0].type: "NOFILE" is not a limit of FreeBSD',
    ),
    Bad(
        "limit set twice",
        {"process/rlimits/1": {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}},
        "process.rlimits[1].type: RLIMIT_NOFILE limits the same as an earlier entry",
    ),
    Bad(
        "limit set twice under two names",
        {
            "process/rlimits/0/type": "RLIMIT_AS",
            "process/rlimits/1": {"type": "RLIMIT_VMEM", "soft": 1, "hard": 1},
        },
        "process.rlimits[1].type: RLIMIT_VMEM limits the same as an earlier entry",
    ),
    Bad(
        "soft limit above the hard one",
        {"process/rlimits/0/soft": 2048},
        "process.rlimits[0].soft: must be at most the hard limit 1024, not 2048",
    ),
    Bad(
        "negative limit",
        {"process/rlimits/0/soft": -1},
        "process.rlimits[0].soft: must be between 0 and 18446744073709551615, not -1",
    ),
    Bad("limit without hard", {"process/rlimits/0/hard": ABSENT}, "process.rlimits[0].hard: is required"),
    Bad(
        "oomScoreAdj out of range",
        {"process/oomScoreAdj": 1001},
        "process.oomScoreAdj: must be between -1000 and 1000, not 1001",
    ),
    Bad(
        "capabilities are a list",
        {"process/capabilities": ["CAP_KILL"]},
        "process.capabilities: must be an object, not a list",
    ),
    Bad(
        "scheduler without its priority",
        {"process/scheduler": {"policy": "SCHED_FIFO"}},
        "process.scheduler.priority: must be between 1 and 99, not 0",
        "linux",
    ),
]

MOUNTS = [
    Bad("mounts are an object", {"mounts": {}}, "mounts: must be a list, not an object"),
    Bad("mount without destination", {"mounts/0/destination": ABSENT}, "mounts[0].destination: is required"),
    Bad("empty destination", {"mounts/0/destination": ""}, 'mounts[0].destination: must be an absolute path, not ""'),
    Bad(
        "relative destination",
        {"mounts/0/destination": "dev"},
        'mounts[0].destination: must be an absolute path, not "dev"',
    ),
    Bad(
        "destination is a number", {"mounts/0/destination": 7}, "mounts[0].destination: must be a string, not a number"
    ),
    Bad("options are a string", {"mounts/0/options": "ro"}, "mounts[0].options: must be a list, not a string"),
    Bad(
        "line end in an option",
        {"mounts/0/options/0": "ro\nrw"},
        'mounts[0].options[0]: must not contain control characters: "ro\\nrw"',
    ),
    Bad("NUL in source", {"mounts/0/source": "\0"}, "mounts[0].source: must not contain a NUL character"),
    Bad(
        "shifted ids",
        {"mounts/0/uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]},
        "mounts[0].uidMappings: is not supported",
    ),
    Bad("shifted ids by option", {"mounts/0/options/0": "idmap"}, "mounts[0].options[0]: idmap is not supported"),
    Bad(
        "too many mounts",
        {"mounts": [{"destination": "/x"}] * 1001},
        "mounts: must hold at most 1000 mounts, not 1001",
    ),
]

HOOKS = [
    Bad("hooks are a list", {"hooks": []}, "hooks: must be an object, not a list"),
    Bad("hook without path", {"hooks/poststop/0/path": ABSENT}, "hooks.poststop[0].path: is required"),
    Bad(
        "relative hook",
        {"hooks/poststop/0/path": "true"},
        'hooks.poststop[0].path: must be an absolute path, not "true"',
    ),
    Bad(
        "no time for a hook",
        {"hooks/poststop/0/timeout": 0},
        "hooks.poststop[0].timeout: must be between 1 and 86400, not 0",
    ),
    Bad(
        "too much time for a hook",
        {"hooks/poststop/0/timeout": 86401},
        "hooks.poststop[0].timeout: must be between 1 and 86400, not 86401",
    ),
    Bad(
        "hook environment without value",
        {"hooks/poststop/0/env": ["A"]},
        'hooks.poststop[0].env[0]: must be NAME=VALUE, not "A"',
    ),
]

OTHERS = [
    Bad("exec: relative cwd", {"cwd": "x"}, 'cwd: must be an absolute path, not "x"', kind="process document"),
    Bad("exec: no program", {"args": []}, "args: must not be empty", kind="process document"),
    Bad(
        "update: memory limit is a word",
        {"memory/limit": "1g"},
        "memory.limit: must be a whole number, not a string",
        kind="resources document",
    ),
]
