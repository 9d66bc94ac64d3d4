"""Documents for properties: mostly what clients send, with mistakes and oddities in between."""

from typing import Any

from hypothesis import strategies as st

PATHS = [
    "/dev",
    "/dev/fd",
    "/dev/shm",
    "/tmp",
    "/proc",
    "/sys",
    "/a/../b",
    "/a b",
    "/x'y",
    "//dev//",
    "/",
    "/..",
    "/d$(id)",
]
TYPES = [
    "devfs",
    "fdescfs",
    "tmpfs",
    "nullfs",
    "bind",
    "",
    "proc",
    "procfs",
    "linprocfs",
    "linsysfs",
    "zfs",
    "sysfs",
    "none",
]
WORDS = [
    "ro", "rw", "nosuid", "suid", "nodev", "noexec", "rbind", "bind", "nullfs", "rprivate", "private", "relatime",
    "noatime", "size=64m", "size=1x", "mode=1777", "mode=8", "ruleset=4", "ruleset=0", "ruleset=x", "tmpcopyup",
    "rule=path shm unhide mode 1777", "rule=path input/event0 unhide", "linrdlnk", "bogus", "key=value", "uid=5",
]  # fmt: skip
SOURCES = ["", "devfs", "vol", "../vol", "/data", "pool/data", "/it's", "a,b"]
SOUND: list[dict[str, Any]] = [
    {"destination": "/dev", "type": "devfs", "options": ["ruleset=4"]},
    {"destination": "//dev//", "type": "devfs", "options": ["nosuid", "rule=path input/event0 unhide mode 600"]},
    {"destination": "/dev/fd", "type": "fdescfs", "source": "fdesc", "options": ["linrdlnk"]},
    {"destination": "/dev/shm", "type": "tmpfs", "options": ["rw", "rprivate", "nodev", "tmpcopyup"]},
    {"destination": "/a b/it's", "type": "tmpfs", "options": ["size=64m", "mode=1777", "ro", "rw", "noexec"]},
    {"destination": "/d$(id)", "source": "../vol", "options": ["rbind", "ro"]},
    {"destination": "/data", "type": "nullfs", "source": "it's, here", "options": ["nosuid", "atime"]},
    {"destination": "/x/../y", "type": "bind", "source": "/data", "options": ["relatime"]},
    {"destination": "/proc", "type": "linprocfs", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "linsysfs"},
]
JAILS: list[dict[str, Any]] = [
    {},
    {"vnet": "new", "vnetInterfaces": ["epair0b", "tap1"], "allow": {"rawSockets": True}},
    {"vnet": "inherit", "parent": "a%2Eb.pod"},
    {"ip4Addr": ["10.0.0.1", "lo1|10.0.0.3/32"], "interface": "em0", "ip6": "inherit"},
    {"ip6Addr": ["fd00::2/64"], "ip6": "new", "ip4": "disable"},
    {"enforceStatfs": 1, "allow": {"mount": ["tmpfs", "devfs"], "chflags": False}, "sysvshm": "inherit"},
]


def _object(**fields: Any) -> "st.SearchStrategy[dict[str, Any]]":
    return st.fixed_dictionaries({}, optional=fields)


def mounts() -> "st.SearchStrategy[list[dict[str, Any]]]":
    """mounts[]."""
    one = st.fixed_dictionaries(
        {"destination": st.sampled_from(PATHS)},
        optional={
            "type": st.sampled_from(TYPES),
            "source": st.sampled_from(SOURCES),
            "options": st.lists(st.sampled_from(WORDS), max_size=5),
        },
    )
    return st.lists(one, max_size=6)


def _jail() -> "st.SearchStrategy[dict[str, Any]]":
    mode = st.sampled_from(["disable", "new", "inherit"])
    return _object(
        parent=st.sampled_from(["pod", "a.b", "a%2Eb"]),
        host=st.sampled_from(["new", "inherit"]),
        vnet=st.sampled_from(["new", "inherit"]),
        vnetInterfaces=st.lists(st.sampled_from(["epair0b", "tap1"]), max_size=2),
        interface=st.sampled_from(["lo0", "em0"]),
        ip4=mode,
        ip6=mode,
        ip4Addr=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2/24", "lo1|10.0.0.3/32"]), max_size=3),
        ip6Addr=st.lists(st.sampled_from(["fd00::1", "fd00::2/64"]), max_size=2),
        sysvmsg=mode,
        enforceStatfs=st.integers(0, 2),
        allow=_object(
            rawSockets=st.booleans(),
            chflags=st.booleans(),
            mount=st.lists(st.sampled_from(["tmpfs", "devfs", "nullfs"])),
        ),
    )


def _resources() -> "st.SearchStrategy[dict[str, Any]]":
    size = st.sampled_from([-1, 0, 1 << 20, 1 << 30])
    return _object(
        memory=_object(limit=size, swap=size),
        cpu=_object(
            quota=st.sampled_from([-1, 0, 500, 50_000]), period=st.just(100_000), cpus=st.sampled_from(["0", "0-3,5"])
        ),
        pids=_object(limit=st.sampled_from([-1, 0, 20])),
    )


def _document(listed: "Any", jail: "Any", roots: list[str]) -> "st.SearchStrategy[Any]":
    names = st.sampled_from(["web", "it.s", "name-1"])
    return st.fixed_dictionaries(
        {
            "ociVersion": st.just("1.3.0"),
            "root": st.fixed_dictionaries({"path": st.sampled_from(roots)}, optional={"readonly": st.booleans()}),
            "process": st.just(
                {"args": ["/bin/sh", "-c", "echo 'a b' \"$HOME\"\nexit"], "cwd": "/", "env": ["A=it's"]}
            ),
            "mounts": listed,
        },
        optional={
            "hostname": names,
            "domainname": names,
            "annotations": st.just({"org.runjail.rctl.openfiles": "deny=64k,log=5", "other": "1"}),
            "freebsd": jail,
            "linux": _object(
                resources=_resources(),
                cgroupsPath=st.sampled_from(["/machine/x", "system.slice:runjail:x"]),
                maskedPaths=st.just(["/proc/kcore"]),
            ),
        },
    )


def any_documents() -> "st.SearchStrategy[dict[str, Any]]":
    """Documents with any kind of mistake: most are not valid."""
    devices = st.lists(st.sampled_from([{"path": "pf", "mode": 448}, {"path": "input/event0"}]), max_size=2)
    return _document(mounts(), _object(jail=_jail(), devices=devices), ["rootfs", "../r", "/"])


def sound_documents() -> "st.SearchStrategy[dict[str, Any]]":
    """Documents that most hosts could run."""
    listed = st.lists(st.sampled_from(SOUND), max_size=6)
    jails = st.sampled_from(JAILS)
    return _document(listed, st.builds(lambda jail: {"jail": jail}, jails), ["rootfs", "/r", "../r", "a b", "it's"])
