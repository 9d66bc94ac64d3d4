"""process.scheduler, ioPriority, execCPUAffinity and what linux says of every process: read, or refused as by runc."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec.model import Process
from runjail.spec.parse import parse
from runjail.spec.process import parse_process
from runjail.spec.scheduling import MemoryPolicy, Scheduler
from tests.support.spec.bad_configs import CONFIG
from tests.support.spec.documents import problems, with_process

NAMESPACES = [{"type": "mount"}, {"type": "network"}, {"type": "time"}]
OFFSETS = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": -3}}


def process(os: str, **values: Any) -> Process:
    found = parse(with_process(**values), os).process
    assert found
    return found


def linux(**values: Any) -> dict[str, Any]:
    return CONFIG | {"linux": {"namespaces": NAMESPACES, **values}}


def test_a_scheduler_whole() -> None:
    deadline = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], "nice": 19}
    deadline |= {"runtime": 42000, "deadline": 100000, "period": 1000000}

    assert process("linux", scheduler=deadline).scheduler == Scheduler(
        "SCHED_DEADLINE", 19, 0, ("SCHED_FLAG_RESET_ON_FORK",), 42000, 100000, 1000000
    )
    assert process("linux", scheduler=None).scheduler is None
    assert process("freebsd", scheduler={"policy": "SCHED_FIFO", "priority": 31}).scheduler == Scheduler(
        "SCHED_FIFO", priority=31
    )


@pytest.mark.parametrize(
    ("scheduler", "os", "problem"),
    [
        ({}, "linux", "policy: is required"),
        (
            {"policy": "SCHED_SPORADIC"},
            "linux",
            (
                'policy: must be "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE" or '
                '"SCHED_DEADLINE", not "SCHED_SPORADIC"'
            ),
        ),
        (
            {"policy": "SCHED_BATCH"},
            "freebsd",
            'policy: must be "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR" or "SCHED_IDLE", not "SCHED_BATCH"',
        ),
        ({"policy": "SCHED_OTHER", "nice": 20}, "linux", "nice: must be between -20 and 19, not 20"),
        ({"policy": "SCHED_FIFO"}, "linux", "priority: must be between 1 and 99, not 0"),
        ({"policy": "SCHED_RR", "priority": 32}, "freebsd", "priority: must be between 0 and 31, not 32"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "linux", 'priority: is only for "SCHED_FIFO" or "SCHED_RR"'),
        ({"policy": "SCHED_RR", "priority": 1, "period": 9}, "linux", 'period: is only for "SCHED_DEADLINE"'),
        ({"policy": "SCHED_OTHER", "flags": ["X"]}, "linux", 'flags[0]: "X" is not known'),
        (
            {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            "freebsd",
            'flags[0]: "SCHED_FLAG_RESET_ON_FORK" is not known',
        ),
    ],
)
def test_a_scheduler_that_cannot_be(scheduler: dict[str, Any], os: str, problem: str) -> None:
    assert problems(with_process(scheduler=scheduler), os) == (f"process.scheduler.{problem}",)


def test_io_priorities() -> None:
    idle = {"class": "IOPRIO_CLASS_IDLE"}

    assert process("linux", ioPriority=idle | {"priority": 7}).io_priority == ("IOPRIO_CLASS_IDLE", 7)
    assert process("linux", ioPriority=idle).io_priority == ("IOPRIO_CLASS_IDLE", 0), "runc: a missing one is 0"
    assert problems(with_process(ioPriority=idle | {"priority": 8}), "linux") == (
        "process.ioPriority.priority: must be between 0 and 7, not 8",
    )
    assert problems(with_process(ioPriority={"class": "BE"}), "linux")[0].startswith(
        "process.ioPriority.class: must be"
    )
    assert problems(with_process(ioPriority=idle)) == (
        "process.ioPriority: is not supported: FreeBSD knows no priorities of input and output",
    )


@pytest.mark.parametrize("os", ["freebsd", "linux"])
def test_cpus_of_an_exec(os: str) -> None:
    """Blanks and empty pieces are runc's to allow."""
    assert process(os, execCPUAffinity={"initial": "1", "final": "0-2, 4,,"}).exec_cpus == ((1,), (0, 1, 2, 4))
    assert process(os, execCPUAffinity={}).exec_cpus == ((), ())
    for text in ("2-1", "a", "-1", "0-", "65537", ","):
        (problem,) = problems(with_process(execCPUAffinity={"final": text}), os)
        assert problem.startswith("process.execCPUAffinity.final: must be a list such as 0-2,5")


def test_every_process_has_what_linux_says_of_it() -> None:
    said = {"personality": {"domain": "LINUX32"}}
    said["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}
    spec = parse(linux(**said), "linux")
    again = parse_process(CONFIG["process"], "linux", said)

    assert spec.process == again
    assert again.personality == "LINUX32"
    assert again.memory_policy == MemoryPolicy("MPOL_BIND", (0, 1), ("MPOL_F_STATIC_NODES",))
    assert parse_process(CONFIG["process"], "freebsd", said).personality == ""


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("personality", {"domain": "SVR4"}, 'domain: must be "LINUX" or "LINUX32", not "SVR4"'),
        (
            "personality",
            {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]},
            "flags[0]: is not supported: runtime-spec 1.3 has no flags",
        ),
        ("memoryPolicy", {"nodes": "0"}, "mode: is required"),
        ("memoryPolicy", {"mode": "MPOL_DEFAULT", "nodes": "0-7"}, "nodes: MPOL_DEFAULT takes no nodes, not 8"),
        ("memoryPolicy", {"mode": "MPOL_BIND"}, "nodes: MPOL_BIND takes at least one node"),
        ("memoryPolicy", {"mode": "MPOL_PREFERRED", "flags": ["bad"]}, 'flags[0]: "bad" is not known'),
        (
            "memoryPolicy",
            {"mode": "MPOL_BIND", "nodes": "0-9876543210"},
            'nodes: must be a list such as 0-2,5, of numbers up to 65536, not "0-9876543210"',
        ),
    ],
)
def test_what_cannot_be_of_every_process(field: str, value: dict[str, Any], problem: str) -> None:
    assert problems(linux(**{field: value}), "linux") == (f"linux.{field}.{problem}",)


def test_offsets_of_clocks() -> None:
    assert parse(linux(timeOffsets=OFFSETS), "linux").linux.time_offsets == (
        ("monotonic", 7881, 2718281),
        ("boottime", -3, 0),
    )


@pytest.mark.parametrize(
    ("offsets", "namespace", "problem"),
    [
        (OFFSETS, None, ": needs a time namespace"),
        (OFFSETS, {"type": "time", "path": "/x"}, ": cannot be set in a time namespace that is joined by its path"),
        (
            {"realtime": {}},
            {"type": "time"},
            '.realtime: is no clock of a time namespace: "monotonic" or "boottime"',
        ),
        (
            {"boottime": {"nanosecs": 10**9}},
            {"type": "time"},
            ".boottime.nanosecs: must be less than a second, not 1000000000",
        ),
    ],
)
def test_offsets_that_cannot_be(offsets: Any, namespace: Any, problem: str) -> None:
    namespaces = [{"type": "pid"}, *([namespace] if namespace else [])]

    assert problems(linux(namespaces=namespaces, timeOffsets=offsets), "linux") == (f"linux.timeOffsets{problem}",)


def test_interfaces_to_be_moved() -> None:
    devices = {"eth1": None, "eth2": {"name": "lan"}, "eth3": {"name": "x%d"}, "eth4": {"name": "x%d"}}

    assert parse(linux(netDevices=devices), "linux").linux.net_devices == (
        ("eth1", "eth1"),
        ("eth2", "lan"),
        ("eth3", "x%d"),
        ("eth4", "x%d"),
    )


@pytest.mark.parametrize(
    ("devices", "problem"),
    [
        ({"a b": {}}, '["a b"]: is no name of an interface'),
        ({"..": {}}, '[".."]: is no name of an interface'),
        ({"eth1": {"name": "a/b"}}, '.eth1.name: must be the name of an interface, not "a/b"'),
        ({"eth1": {"name": "a%d%d"}}, '.eth1.name: must be the name of an interface, not "a%d%d"'),
        ({"eth1": {"name": "a" * 16}}, '.eth1.name: must be the name of an interface, not "aaaaaaaaaaaaaaaa"'),
        ({"eth1": {"name": "eth2"}, "eth2": {}}, ".eth2.name: eth2 is the name of another one"),
    ],
)
def test_interfaces_that_cannot_be(devices: Any, problem: str) -> None:
    found = problems(linux(netDevices=devices), "linux")

    assert f"linux.netDevices{problem}" in found


def test_a_document_of_exec_is_read_likewise() -> None:
    document = {"args": ["x"], "cwd": "/", "scheduler": {"policy": "SCHED_IDLE"}}

    assert parse_process(document, "linux").scheduler == Scheduler("SCHED_IDLE")
    with pytest.raises(InvalidConfig, match=r"scheduler\.nice"):
        parse_process(document | {"scheduler": {"policy": "SCHED_IDLE", "nice": -21}}, "linux")
