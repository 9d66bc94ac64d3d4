"""No property of config.json is dropped silently: each has an effect, is refused by its path, or is warned of.

Which of the three docs/spec-coverage.md says, for each system; here each property is changed by itself. That what the
plan says is then done is what tests/container, tests/host and tests/freebsd are about.
"""

import copy
import re
from typing import Any

import pytest

from runjail.spec.schema import SCHEMA
from tests.spec.test_spec_coverage import STATUS
from tests.support.spec.every_property import FULL, IDS, outcome, properties

PROPERTIES = sorted(set(properties(SCHEMA["$defs"]["config"])))
DEADLINE = {"process.scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}}
USER = {"linux.namespaces": [*FULL["linux"]["linux"]["namespaces"], {"type": "user"}]}
USER |= {"linux.uidMappings": IDS, "linux.gidMappings": IDS}
BIND = {"destination": "/x", "type": "bind", "source": "/y", "uidMappings": IDS, "gidMappings": IDS}
MAPPED = {"mounts": [*FULL["linux"]["mounts"], BIND]}
ADDRESSED = ("interface", "ip4", "ip4Addr", "ip6", "ip6Addr")
ALONE: dict[str, Any] = {f"freebsd.jail.{key}": None for key in ADDRESSED}

# What stands in another document than FULL, since it excludes something there: system, property, changes by place
BESIDE: list[tuple[str, str, dict[str, Any]]] = [
    ("linux", "process.scheduler.priority", {"process.scheduler": {"policy": "SCHED_RR", "priority": 6}}),
    *[("linux", f"process.scheduler.{key}", DEADLINE) for key in ("runtime", "deadline", "period")],
    *[("linux", path, USER) for path in PROPERTIES if re.match(r"linux\.[ug]idMappings", path)],
    *[("linux", path, MAPPED) for path in PROPERTIES if re.match(r"mounts\[\]\.[ug]idMappings", path)],
    ("linux", "freebsd.jail.vnet", {"freebsd.jail": {"vnet": "new"}, "linux": None}),
    *[
        ("linux", f"freebsd.jail.{key}", {"freebsd.jail": {"ip4": "disable", "ip6": "disable"}, "linux": None})
        for key in ("ip4", "ip6")
    ],
    ("linux", "freebsd.jail", {"freebsd.jail": {"vnet": "new"}, "linux": None}),
    ("linux", "freebsd", {"freebsd.jail": {"vnet": "new"}, "linux": None}),
    ("freebsd", "freebsd.jail.host", {"freebsd.jail.host": "new", "hostname": None, "domainname": None}),
    ("freebsd", "freebsd.jail.vnet", ALONE | {"freebsd.jail.vnet": "new"}),
    (
        "freebsd",
        "freebsd.jail.vnetInterfaces",
        ALONE | {"freebsd.jail.vnet": "new", "freebsd.jail.vnetInterfaces": ["x"]},
    ),
]

# Another value, for what cannot simply be taken away; of one system only after its name
OTHER: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "root": {"path": "other"},
    "root.path": "other",
    "process.args": ["x"],
    "process.cwd": "/",
    "process.consoleSize.height": 9,
    "process.consoleSize.width": 9,
    "process.rlimits[].type": "RLIMIT_CORE",
    "process.rlimits[].soft": 4,
    "process.rlimits[].hard": 7,
    "linux: process.scheduler.policy": "SCHED_OTHER",
    "freebsd: process.scheduler.policy": "SCHED_FIFO",
    "process.scheduler.priority": 7,
    "process.ioPriority.class": "IOPRIO_CLASS_IDLE",
    "linux: mounts": FULL["linux"]["mounts"][:1],
    "freebsd: mounts": FULL["freebsd"]["mounts"][:1],
    "mounts[].destination": "/other",
    "mounts[].type": "tmpfs",
    "mounts[].source": "/other",
    "hooks.*[].path": "/other",
    "freebsd.devices[].path": "bpf",
    "linux: freebsd.jail": {"vnet": "inherit"},
    "freebsd: freebsd.jail": {"ip4Addr": ["10.0.0.3"]},
    "freebsd.jail.interface": "lo2",
    "freebsd.jail.ip4Addr": ["10.0.0.3/24"],
    "freebsd.jail.ip6Addr": ["fd00::3/64"],
    "freebsd.jail.enforceStatfs": 0,
    "linux.namespaces": FULL["linux"]["linux"]["namespaces"][1:],
    "linux.namespaces[].type": "",
    "linux.namespaces[].path": "/run/netns/y",
    "linux.timeOffsets": {"boottime": {"secs": 1}},
    "linux.devices[].path": "/dev/y",
    "linux.devices[].type": "b",
    "linux.seccomp.defaultAction": "SCMP_ACT_LOG",
    "linux.seccomp.listenerPath": "/other",
    "linux.seccomp.syscalls[].names": ["mkdir"],
    "linux.seccomp.syscalls[].action": "SCMP_ACT_NOTIFY",
    "linux.seccomp.syscalls[].args[].index": 2,
    "linux.seccomp.syscalls[].args[].value": 9,
    "linux.seccomp.syscalls[].args[].op": "SCMP_CMP_EQ",
    "linux.memoryPolicy.mode": "MPOL_INTERLEAVE",
    "linux.memoryPolicy.nodes": "1",
    "linux.personality.domain": "LINUX",
    "linux.resources.devices[].allow": False,
    "linux.resources.devices[].access": "r",
    "linux.resources.hugepageLimits[].pageSize": "1GB",
    "linux.resources.hugepageLimits[].limit": 10,
    "linux.resources.network.priorities[].name": "eth1",
    "linux.resources.network.priorities[].priority": 3,
    **{
        f"linux.resources.blockIO.{key}[].{number}": 3
        for key in (
            "weightDevice",
            *(f"throttle{way}Device" for way in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")),
        )
        for number in ("major", "minor")
    },
    "linux.resources.memory.limit": 5 << 18,
    **{f"linux.{kind}idMappings": IDS[:1] for kind in "ug"},
    **{
        f"{where}.{kind}idMappings[].{key}": 70000
        for where in ("linux", "mounts[]")
        for kind in "ug"
        for key in ("containerID", "hostID", "size")
    },
    **{f"mounts[].{kind}idMappings": IDS[:1] for kind in "ug"},
}

# What others need: without it they are refused
NEEDED = {"linux.namespaces[].type"}

# What has no effect, or is refused: all that is said beside FULL of the other system
SAID: dict[str, Any] = {
    "process.commandLine": "x",
    "process.user.username": "x",
    "linux.resources.memory.kernel": 5,
    "linux.resources.memory.kernelTCP": 5,
    "linux.resources.memory.useHierarchy": True,
    "linux.intelRdt": {"closID": "x", "schemata": ["MB:0=1"], "l3CacheSchema": "x", "memBwSchema": "MB:0=1"}
    | {"enableMonitoring": True},
    "linux.personality.flags": ["x"],
    "linux.uidMappings": IDS,
    "linux.gidMappings": IDS,
    "freebsd.jail.vnetInterfaces": ["x"],
    "process.scheduler.flags": ["SCHED_FLAG_RESET_ON_FORK"],
    **{f"process.scheduler.{key}": 5 for key in ("runtime", "deadline", "period")},
    **{
        f"mounts[].{kind}idMappings": [{"destination": "/x", "type": "bind", "source": "/y", f"{kind}idMappings": IDS}]
        for kind in "ug"
    },
}


def full(os: str, path: str = "") -> dict[str, Any]:
    """Return a document of all that a system applies, or one in which this property can stand."""
    document = copy.deepcopy(FULL[os])
    for system, other, changes in BESIDE:
        if (system, other) == (os, path):
            for place, value in changes.items():
                put(document, place, value)
    return document


def put(document: dict[str, Any], place: str, value: object) -> None:
    """Set what stands at a place of objects only, or take it away for None."""
    *parents, last = place.split(".")
    for key in parents:
        document = document.setdefault(key, {})
    document[last] = copy.deepcopy(value)
    if value is None:
        del document[last]


def holders(document: Any, path: str) -> list[dict[str, Any]]:
    """Return the objects that have a property, by its path with [] and `*`."""
    found = [document]
    *parents, last = path.split(".")
    for key in parents:
        name = key.removesuffix("[]")
        below = [(item.values() if name == "*" else [item.get(name)]) for item in found if item]
        found = [value for values in below for value in values if value is not None]
        if key.endswith("[]"):
            found = [value for values in found for value in values]
    return [item for item in found if item and last in item]


def status(path: str, os: str) -> str:
    return STATUS[path][os]


def cases(word: str) -> list[Any]:
    """Return the properties that have this word on a system."""
    found = [(os, path) for os in FULL for path in PROPERTIES if status(path, os) == word]
    assert len(found) > 10
    return [pytest.param(os, path, id=f"{os}: {path}") for os, path in found]


@pytest.mark.parametrize("os", sorted(FULL))
def test_the_documents_are_good(os: str) -> None:
    problems, _plan, unused = outcome(full(os), os)

    assert (problems, set(unused)) == ((), set())


@pytest.mark.parametrize(("os", "path"), cases("applied"))
def test_what_is_applied_changes_what_is_done(os: str, path: str) -> None:
    document = full(os, path)
    problems, before, _unused = outcome(document, os)
    assert problems == ()
    having = holders(document, path)
    assert having, "no document has it"
    last = path.rsplit(".", maxsplit=1)[-1]
    other = OTHER.get(f"{os}: {path}", OTHER.get(path))
    if other is None:
        del having[-1][last]
    else:
        having[-1][last] = other
    problems, after, _unused = outcome(document, os)

    assert after != before
    assert problems == () or path in NEEDED, "a value that is not good says nothing"


def said(path: str, os: str) -> tuple[dict[str, Any], str]:
    """Return a document that says it, and the place where: the nearest one that is reached by objects only."""
    place = re.split(r"\[\]|\.\*", path)[0]
    document = full(os)
    known = [key for key in SAID if path == key or path.startswith((f"{key}.", f"{key}["))]
    if known:
        place = known[0].split("[")[0]
        value = SAID[known[0]]
    else:
        other: Any = FULL["freebsd" if os == "linux" else "linux"]
        for key in place.split("."):
            other = other[key]
        value = other
    put(document, place, value)
    return document, place


@pytest.mark.parametrize(("os", "path"), cases("warned"))
def test_what_is_warned_of_changes_nothing(os: str, path: str) -> None:
    document, _place = said(path, os)
    problems, plan, unused = outcome(document, os)

    assert problems == ()
    assert [name for name in unused if f"{path}.".startswith((f"{name}.", f"{name}["))], unused
    assert plan == outcome(full(os), os)[1]


@pytest.mark.parametrize(("quota", "warned"), [(None, True), (0, True), (3000, False), (-1, False)])
def test_a_period_on_freebsd_is_part_of_a_quota(quota: int | None, warned: bool) -> None:
    document = full("freebsd")
    put(document, "linux.resources.cpu.quota", quota)

    assert outcome(document, "freebsd")[2] == (("linux.resources.cpu.period",) if warned else ())


@pytest.mark.parametrize(("os", "path"), cases("refused"))
def test_what_is_refused_is_named(os: str, path: str) -> None:
    document, place = said(path, os)
    problems, _plan, _unused = outcome(document, os)
    named = [problem.split(":")[0] for problem in problems]

    assert [name for name in named if name == path or name.startswith(place) or path.startswith(f"{name}.")], problems
