"""Documents whose freebsd section, annotations, limits or linux section are refused."""

from tests.support.spec.bad import Bad

ANNOTATION = "annotations/org.freebsd."

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
        {ANNOTATION + "jail.allow.every thing": "true"},
        'annotations["org.freebsd.jail.allow.every thing"]: is not the name of a jail permission',
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
        'linux.namespaces[0].type: must be "pid", "network", "mount", "ipc", "uts", "cgroup", "time" or "user", '
        'not "net"',
        "linux",
    ),
    Bad(
        "user namespace without ids",
        {"linux/namespaces/0/type": "user", "linux/gidMappings": [{"containerID": 0, "hostID": 7, "size": 1}]},
        "linux.uidMappings: is required: a user namespace takes both",
        "linux",
    ),
    *(
        Bad(
            name,
            {
                "linux/namespaces/0/type": "user",
                "linux/uidMappings": [
                    {"containerID": container, "hostID": host, "size": size} for container, host, size in ranges
                ],
                "linux/gidMappings": [{"containerID": 0, "hostID": 7, "size": 1}],
            },
            f"linux.uidMappings{error}",
            "linux",
        )
        for name, ranges, error in (
            ("no root", [(1, 7, 9)], ": must map id 0, whose the container's new files are"),
            ("empty range of ids", [(0, 7, 0)], "[0].size: must be at least 1"),
            ("range beyond all ids", [(0, 2**32 - 10, 10)], "[0].size: leads beyond the last id, 4294967294"),
            ("ids mapped twice", [(0, 100, 10), (9, 200, 1)], "[1].containerID: repeats ids of an entry before it"),
            ("two of one id", [(0, 100, 10), (10, 109, 1)], "[1].hostID: repeats ids of an entry before it"),
            ("too many ranges", [(i, i, 1) for i in range(341)], ": must hold at most 340 entries, not 341"),
        )
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
        "linux.uidMappings: needs a user namespace",
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
        "two domain names",
        {
            "domainname": "a.example",
            "linux/namespaces": [{"type": "uts"}],
            "linux/sysctl": {"kernel.domainname": "b.example"},
        },
        'linux.sysctl["kernel.domainname"]: contradicts domainname',
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
        "device rule without a word",
        {"linux/resources/devices": [{"type": "c", "access": "r"}]},
        "linux.resources.devices[0].allow: is required",
        "linux",
    ),
    Bad(
        "device rule without access",
        {"linux/resources/devices": [{"allow": True, "type": "c"}, {"allow": False, "access": "rx"}]},
        'linux.resources.devices[0].access: must be made of the letters r, w and m, not ""; '
        'linux.resources.devices[1].access: must be made of the letters r, w and m, not "rx"',
        "linux",
    ),
    Bad(
        "device rule for a pipe",
        {"linux/resources/devices": [{"allow": True, "type": "p", "access": "rwm"}]},
        'linux.resources.devices[0].type: must be "a", "b" or "c", not "p"',
        "linux",
    ),
    Bad(
        "device rule with numbers out of range",
        {"linux/resources/devices": [{"allow": True, "type": "c", "major": 4096, "minor": -2, "access": "r"}]},
        "linux.resources.devices[0].major: must be between 0 and 4095, or -1 for every one, not 4096; "
        "linux.resources.devices[0].minor: must be between 0 and 1048575, or -1 for every one, not -2",
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
        "personality of another system",
        {"linux/personality": {"domain": "SVR4"}},
        'linux.personality.domain: must be "LINUX" or "LINUX32", not "SVR4"',
        "linux",
    ),
]
