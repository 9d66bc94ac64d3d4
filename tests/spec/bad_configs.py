"""Documents that runjail refuses, each with the exact error: the table behind docs/bad-input.md.

A row takes a good document and changes some places in it; ABSENT takes a place away. Write the page anew with
`python -m tests.spec.bad_configs > docs/bad-input.md` from the top of the checkout.
"""

import copy
import json
from typing import Any, NamedTuple

from runjail.errors import InvalidConfig
from runjail.spec.parse import decode, parse, parse_process, parse_resources

ABSENT = object()
ANNOTATION = "annotations/org.freebsd."

CONFIG: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {
        "args": ["/bin/sh"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
    },
    "mounts": [{"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]}],
    "hooks": {"poststop": [{"path": "/bin/true"}]},
    "annotations": {},
    "freebsd": {"devices": [{"path": "pf"}], "jail": {"allow": {}}},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "resources": {"memory": {}, "cpu": {}, "pids": {}}},
}


class Bad(NamedTuple):
    """name; what is changed, by slash-separated place; the error after its prefix; operating system; document kind."""

    name: str
    changes: dict[str, Any]
    error: str
    os: str = "freebsd"
    kind: str = "config.json"

    def document(self) -> Any:
        """Return the changed document."""
        whole = copy.deepcopy(CONFIG)
        base = {
            "config.json": whole,
            "process document": whole["process"],
            "resources document": whole["linux"]["resources"],
        }
        document = base[self.kind]
        for where, value in self.changes.items():
            *parents, last = (int(step) if step.isdecimal() else step for step in where.split("/"))
            target = document
            for step in parents:
                target = target[step]
            if value is ABSENT:
                del target[last]
            elif isinstance(target, list) and last == len(target):
                target.append(value)
            else:
                target[last] = value
        return document

    def judge(self) -> str:
        """Return the error that the document gets, "" when it is accepted."""
        document = self.document()
        try:
            if self.kind == "config.json":
                parse(document, self.os)
            elif self.kind == "process document":
                parse_process(document, self.os)
            else:
                parse_resources(document)
        except InvalidConfig as error:
            return str(error)
        return ""


class BadText(NamedTuple):
    """name; bytes that are no acceptable JSON document; the error after its prefix."""

    name: str
    data: bytes
    error: str

    def judge(self) -> str:
        """Return the error that the bytes get, "" when they are accepted."""
        try:
            decode(self.data)
        except InvalidConfig as error:
            return str(error)
        return ""


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
    Bad("empty program", {"process/args/0": ""}, "process.args[0]: must name a program"),
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
        "process.user.additionalGids: must hold at most 1022 groups, not 1023",
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
        "scheduler",
        {"process/scheduler": {"policy": "SCHED_FIFO"}},
        "process.scheduler: is not supported",
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

JAIL = [
    Bad(
        "vnet disabled",
        {"freebsd/jail/vnet": "disable"},
        'freebsd.jail.vnet: must be "new" or "inherit", not "disable"',
    ),
    Bad(
        "host disabled",
        {"freebsd/jail/host": "disable"},
        'freebsd.jail.host: must be "new" or "inherit", not "disable"',
    ),
    Bad(
        "unknown sharing",
        {"freebsd/jail/ip4": "none"},
        'freebsd.jail.ip4: must be "disable", "new" or "inherit", not "none"',
    ),
    Bad(
        "enforceStatfs of three",
        {"freebsd/jail/enforceStatfs": 3},
        "freebsd.jail.enforceStatfs: must be between 0 and 2, not 3",
    ),
    Bad(
        "permission is a word",
        {"freebsd/jail/allow/rawSockets": "yes"},
        "freebsd.jail.allow.rawSockets: must be true or false, not a string",
    ),
    Bad(
        "address is a name",
        {"freebsd/jail/ip4Addr": ["localhost"]},
        'freebsd.jail.ip4Addr[0]: must be a numeric IPv4 address, not "localhost"',
    ),
    Bad(
        "address of the other family",
        {"freebsd/jail/ip6Addr": ["10.0.0.1"]},
        'freebsd.jail.ip6Addr[0]: must be a numeric IPv6 address, not "10.0.0.1"',
    ),
    Bad(
        "address with a long prefix",
        {"freebsd/jail/ip4Addr": ["10.0.0.1/33"]},
        'freebsd.jail.ip4Addr[0]: must have a prefix length of at most 32, not "33"',
    ),
    Bad(
        "address on a bad interface",
        {"freebsd/jail/ip4Addr": ["-a|10.0.0.1"]},
        'freebsd.jail.ip4Addr[0]: must start with an interface name of at most 15 characters, not "-a"',
    ),
    Bad(
        "address twice",
        {"freebsd/jail/ip6Addr": ["fd00::1", "fd00:0::1/64"]},
        "freebsd.jail.ip6Addr[1]: is listed twice",
    ),
    Bad(
        "broadcast address",
        {"freebsd/jail/ip4Addr": ["255.255.255.255"]},
        "freebsd.jail.ip4Addr[0]: must not be the broadcast address",
    ),
    Bad(
        "too many addresses",
        {"freebsd/jail/ip4Addr": [f"10.0.{n // 256}.{n % 256}" for n in range(256)]},
        "freebsd.jail.ip4Addr: must hold at most 255 addresses, not 256",
    ),
    Bad(
        "address while disabled",
        {"freebsd/jail/ip4": "disable", "freebsd/jail/ip4Addr": ["10.0.0.1"]},
        'freebsd.jail.ip4Addr: cannot be combined with ip4 "disable"',
    ),
    Bad(
        "address in an own network stack",
        {"freebsd/jail/vnet": "new", "freebsd/jail/ip4Addr": ["10.0.0.1"]},
        'freebsd.jail.ip4Addr: cannot be combined with vnet "new"',
    ),
    Bad(
        "inherited addresses in an own network stack",
        {"freebsd/jail/vnet": "new", "freebsd/jail/ip4": "inherit", "freebsd/jail/ip6": "inherit"},
        'freebsd.jail.ip4: cannot be combined with vnet "new"; freebsd.jail.ip6: cannot be combined with vnet "new"',
    ),
    Bad(
        "aliases in an own network stack",
        {"freebsd/jail/vnet": "new", "freebsd/jail/interface": "lo1"},
        'freebsd.jail.interface: cannot be combined with vnet "new"',
    ),
    Bad(
        "interfaces to move without a network stack",
        {"freebsd/jail/vnetInterfaces": ["epair0b"]},
        'freebsd.jail.vnetInterfaces: needs vnet "new"',
    ),
    Bad(
        "interface that is an option",
        {"freebsd/jail/vnet": "new", "freebsd/jail/vnetInterfaces": ["epair0b", "-l"]},
        'freebsd.jail.vnetInterfaces[1]: must be an interface name of at most 15 characters, not "-l"',
    ),
    Bad(
        "interface twice",
        {"freebsd/jail/vnet": "new", "freebsd/jail/vnetInterfaces": ["epair0b", "epair0b"]},
        "freebsd.jail.vnetInterfaces[1]: is listed twice",
    ),
    Bad(
        "long interface name",
        {"freebsd/jail/interface": "abcdefghijklmnop"},
        'freebsd.jail.interface: must be an interface name of at most 15 characters, not "abcdefghijklmnop"',
    ),
    Bad(
        "parent with an empty part",
        {"freebsd/jail/parent": "a..b"},
        'freebsd.jail.parent: must be the name of a jail, not "a..b"',
    ),
    Bad(
        "hostname of an inherited host",
        {"freebsd/jail/host": "inherit", "hostname": "web"},
        'hostname: cannot be set when freebsd.jail.host is "inherit"',
    ),
    Bad(
        "mounting that could never work",
        {"freebsd/jail/enforceStatfs": 2, "freebsd/jail/allow/mount": ["tmpfs"]},
        "freebsd.jail.allow.mount: needs freebsd.jail.enforceStatfs 0 or 1",
    ),
    Bad(
        "file system that is none",
        {"freebsd/jail/enforceStatfs": 1, "freebsd/jail/allow/mount": ["tmpfs,zfs"]},
        'freebsd.jail.allow.mount[0]: must be a file system type such as tmpfs, not "tmpfs,zfs"',
    ),
    Bad(
        "device outside /dev",
        {"freebsd/devices/0/path": "../etc/passwd"},
        'freebsd.devices[0].path: must name one device below /dev, not "../etc/passwd"',
    ),
    Bad(
        "absolute device",
        {"freebsd/devices/0/path": "/dev/pf"},
        'freebsd.devices[0].path: must be relative to /dev, not "/dev/pf"',
    ),
    Bad(
        "every device",
        {"freebsd/devices/0/path": "*"},
        'freebsd.devices[0].path: must name one device below /dev, not "*"',
    ),
    Bad(
        "device that adds a rule",
        {"freebsd/devices/0/path": "pf unhide"},
        'freebsd.devices[0].path: must name one device below /dev, not "pf unhide"',
    ),
    Bad(
        "device mode with more bits",
        {"freebsd/devices/0/mode": 0o1777},
        "freebsd.devices[0].mode: must be between 0 and 511, not 1023",
    ),
]

ANNOTATIONS = [
    Bad(
        "unknown permission",
        {ANNOTATION + "jail.allow.everything": "true"},
        'annotations["org.freebsd.jail.allow.everything"]: is not a jail permission that an annotation can give',
    ),
    Bad(
        "permission without a clear word",
        {ANNOTATION + "jail.allow.raw_sockets": "yes"},
        'annotations["org.freebsd.jail.allow.raw_sockets"]: must be "true" or "false", not "yes"',
    ),
    Bad(
        "unknown vnet",
        {ANNOTATION + "jail.vnet": "disable"},
        'annotations["org.freebsd.jail.vnet"]: must be "new" or "inherit", not "disable"',
    ),
    Bad(
        "address is a name",
        {ANNOTATION + "jail.ip4.addr": "10.0.0.1,localhost"},
        'annotations["org.freebsd.jail.ip4.addr"]: must be a numeric IPv4 address, not "localhost"',
    ),
    Bad(
        "parent that is an option",
        {ANNOTATION + "parentJail": "-r"},
        'annotations["org.freebsd.parentJail"]: must be the name of a jail, not "-r"',
    ),
    Bad(
        "section and annotation disagree",
        {"freebsd/jail/vnet": "inherit", ANNOTATION + "jail.vnet": "new"},
        'annotations["org.freebsd.jail.vnet"]: says "new", but freebsd.jail.vnet says "inherit"',
    ),
    Bad(
        "permission given and taken",
        {"freebsd/jail/allow/chflags": True, ANNOTATION + "jail.allow.chflags": "0"},
        'annotations["org.freebsd.jail.allow.chflags"]: says false, but freebsd.jail.allow.chflags says true',
    ),
    Bad(
        "two spellings disagree",
        {ANNOTATION + "jail.ip6.add": "fd00::1", ANNOTATION + "jail.ip6.addr": "fd00::2"},
        'annotations["org.freebsd.jail.ip6.addr"]: says "fd00::2", but '
        'annotations["org.freebsd.jail.ip6.add"] says "fd00::1"',
    ),
    Bad(
        "file system without mounting",
        {ANNOTATION + "jail.allow.mount": "false", ANNOTATION + "jail.allow.mount.tmpfs": "true"},
        'annotations["org.freebsd.jail.allow.mount"]: cannot be false while file systems are allowed',
    ),
]

LIMITS = [
    Bad(
        "memory limit is a word",
        {"linux/resources/memory/limit": "1g"},
        "linux.resources.memory.limit: must be a whole number, not a string",
    ),
    Bad(
        "memory limit below none",
        {"linux/resources/memory/limit": -2},
        "linux.resources.memory.limit: must be -1 for no limit, or not negative, not -2",
    ),
    Bad(
        "swap below memory",
        {"linux/resources/memory": {"limit": 2048, "swap": 1024}},
        "linux.resources.memory.swap: counts memory too, so it must be at least the limit 2048, not 1024",
    ),
    Bad(
        "period too short",
        {"linux/resources/cpu/period": 999},
        "linux.resources.cpu.period: must be between 1000 and 1000000 microseconds, not 999",
    ),
    Bad(
        "list of CPUs runs backwards",
        {"linux/resources/cpu/cpus": "3-1"},
        'linux.resources.cpu.cpus: must be a list such as 0-2,5, not "3-1"',
    ),
    Bad(
        "list of CPUs ends too early",
        {"linux/resources/cpu/cpus": "0,"},
        'linux.resources.cpu.cpus: must be a list such as 0-2,5, not "0,"',
    ),
    Bad(
        "fewer processes than none",
        {"linux/resources/pids/limit": -2},
        "linux.resources.pids.limit: must be -1 for no limit, or not negative, not -2",
    ),
]

LINUX = [
    Bad(
        "unknown namespace",
        {"linux/namespaces/0/type": "net"},
        'linux.namespaces[0].type: must be "pid", "network", "mount", "ipc", "uts" or "cgroup", not "net"',
        "linux",
    ),
    Bad(
        "user namespace",
        {"linux/namespaces/0/type": "user"},
        "linux.namespaces[0].type: user namespaces are not supported",
        "linux",
    ),
    Bad(
        "namespace twice", {"linux/namespaces/1/type": "pid"}, "linux.namespaces[1].type: pid is listed twice", "linux"
    ),
    Bad(
        "relative namespace",
        {"linux/namespaces/0/path": "proc/1/ns/pid"},
        'linux.namespaces[0].path: must be an absolute path, not "proc/1/ns/pid"',
        "linux",
    ),
    Bad("hostname of the host", {"hostname": "web"}, "hostname: needs a uts namespace", "linux"),
    Bad(
        "mapped ids",
        {"linux/uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]},
        "linux.uidMappings: is not supported",
        "linux",
    ),
    Bad(
        "setting is a number",
        {"linux/sysctl": {"net.ipv4.ip_forward": 1}},
        'linux.sysctl["net.ipv4.ip_forward"]: must be a string, not a number',
        "linux",
    ),
    Bad(
        "setting of the whole machine",
        {"linux/sysctl": {"kernel.panic": "1"}},
        'linux.sysctl["kernel.panic"]: is not a setting that a container can have of its own',
        "linux",
    ),
    Bad(
        "setting that leaves its directory",
        {"linux/sysctl": {"net.../../kernel/panic": "1"}},
        'linux.sysctl["net.../../kernel/panic"]: is not a setting that a container can have of its own',
        "linux",
    ),
    Bad(
        "setting without its namespace",
        {"linux/sysctl": {"net.ipv4.ip_forward": "1"}},
        'linux.sysctl["net.ipv4.ip_forward"]: needs a network namespace',
        "linux",
    ),
    Bad(
        "device that is a directory",
        {"linux/devices": [{"path": "/dev/x", "type": "d"}]},
        'linux.devices[0].type: must be "c", "b", "u" or "p", not "d"',
        "linux",
    ),
    Bad(
        "device number out of range",
        {"linux/devices": [{"path": "/dev/x", "type": "c", "major": 4096, "minor": -1}]},
        "linux.devices[0].major: must be between 0 and 4095, not 4096; "
        "linux.devices[0].minor: must be between 0 and 1048575, not -1",
        "linux",
    ),
    Bad(
        "relative masked path",
        {"linux/maskedPaths": ["proc/kcore"]},
        'linux.maskedPaths[0]: must be an absolute path, not "proc/kcore"',
        "linux",
    ),
    Bad(
        "cgroup outside",
        {"linux/cgroupsPath": "/a/../../b"},
        "linux.cgroupsPath: must not lead upwards with ..",
        "linux",
    ),
    Bad(
        "unknown propagation",
        {"linux/rootfsPropagation": "public"},
        'linux.rootfsPropagation: must be "private", "shared", "slave" or "unbindable", not "public"',
        "linux",
    ),
    Bad(
        "personality of 32 bits",
        {"linux/personality": {"domain": "LINUX32"}},
        "linux.personality.domain: only LINUX is supported",
        "linux",
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

TABLES = {
    "The whole container": COMMON,
    "process": PROCESS,
    "mounts": MOUNTS,
    "hooks": HOOKS,
    "The freebsd section": JAIL,
    "Annotations": ANNOTATIONS,
    "Limits, on every host": LIMITS,
    "The linux section, on the Linux host": LINUX,
    "Documents of exec and update": OTHERS,
}
BAD = [bad for table in TABLES.values() for bad in table]

TEXTS = [
    BadText("empty", b"", "line 1 column 1: Expecting value"),
    BadText("not closed", b'{"root": {', "line 1 column 11: Expecting property name enclosed in double quotes"),
    BadText("no comma", b'{\n "a": 1\n "b": 2\n}', "line 3 column 2: Expecting ',' delimiter"),
    BadText("two documents", b"{} {}", "line 1 column 4: Extra data"),
    BadText("line end in a string", b'["a\nb"]', "line 1 column 4: Invalid control character at"),
    BadText("NaN", b"[NaN]", "NaN is not JSON"),
    BadText("infinite number", b'{"x": -1e999}', "number -1e999 is too large"),
    BadText("Latin-1", b'["caf\xe9"]', "byte 6: is not UTF-8"),
    BadText("too deep", b"[" * 300 + b"]" * 300, "nested deeper than 200 levels"),
]

INTRODUCTION = """# What runjail refuses

Written by `python -m tests.spec.bad_configs`; a test compares this page with what the program says.

A bad document is refused before anything is touched, with one line that names every problem and its place, in the
order of the places:

    invalid config.json: process.cwd: must be an absolute path, not "tmp"; root.path: must not be empty

The tables show one mistake at a time: a change to a good document, and what follows `invalid config.json: `
(`invalid process document: ` for `exec --process`, `invalid resources document: ` for `update --resources`). Each was
judged for FreeBSD unless it says Linux. More than twenty problems are cut short with `and 5 more`.

Unknown properties are never an error (runtime-spec, Extensibility).
"""


def page() -> str:
    """Return docs/bad-input.md as it has to be."""
    parts = [INTRODUCTION]
    for title, table in TABLES.items():
        parts.append(f"## {title}\n\n| what | input | error |\n|---|---|---|\n" + "".join(map(_row, table)))
    texts = "".join(f"| {text.name} | {_cell(_cut(repr(text.data)[1:]))} | {_cell(text.error)} |\n" for text in TEXTS)
    parts.append("## Not even JSON\n\n| what | bytes | error |\n|---|---|---|\n" + texts)
    return "\n".join(parts)


def _row(bad: Bad) -> str:
    changes = "<br>".join(_cell(_change(where, value)) for where, value in bad.changes.items())
    name = bad.name if bad.os == "freebsd" else f"{bad.name} (Linux)"
    return f"| {name} | {changes} | {_cell(bad.error)} |\n"


def _change(where: str, value: Any) -> str:
    return f"{where} absent" if value is ABSENT else f"{where} = {_cut(json.dumps(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= 70 else text[:50] + " ..."


def _cell(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    print(page(), end="")
