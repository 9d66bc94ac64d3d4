"""linux.resources and the document of `update`: numbers, lists, and what they may not be."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec.model import Resources
from runjail.spec.resources import parse_resources


def test_resources() -> None:
    document = {
        "memory": {"limit": 1024, "reservation": 512, "swap": -1, "kernel": 5},
        "cpu": {"shares": 512, "quota": -1, "period": 100000, "cpus": "0-2,5", "mems": "0"},
        "pids": {"limit": 0},
        "blockIO": {"weight": 0},
        "hugepageLimits": [],
    }

    assert parse_resources(document) == Resources(1024, 512, -1, 512, -1, 100000, "0-2,5", "0", 0)


def test_resources_of_control_groups_alone() -> None:
    rate = {"major": 8, "minor": 16, "rate": 5}
    document = {
        "memory": {"swappiness": 60, "disableOOMKiller": True, "checkBeforeUpdate": True},
        "cpu": {"burst": 7, "realtimeRuntime": 8, "realtimePeriod": 9, "idle": 1},
        "blockIO": {
            "weight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 20, "leafWeight": 30}],
            "throttleWriteIOPSDevice": [rate],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "network": {"classID": 3, "priorities": [{"name": "eth0", "priority": 2}]},
        "rdma": {"mlx": {"hcaHandles": 1}},
        "unified": {"memory.high": "max"},
    }
    read = parse_resources(document)

    assert (read.swappiness, read.oom_killer_off, read.check_before_update) == (60, True, True)
    assert (read.cpu_burst, read.realtime_runtime, read.realtime_period, read.cpu_idle) == (7, 8, 9, 1)
    assert [(limit.kind, limit.device, limit.value) for limit in read.block] == [
        ("weight", "", 10), ("weight", "8:0", 20), ("leaf_weight", "8:0", 30), ("wiops", "8:16", 5),
    ]  # fmt: skip
    assert (read.hugepages, read.class_id, read.priorities) == ((("2MB", 4),), 3, (("eth0", 2),))
    assert (read.rdma, read.unified) == ((("mlx", 1, None),), (("memory.high", "max"),))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"memory": {"swappiness": 101}}, "memory.swappiness: must be between 0 and 100, not 101"),
        (
            {"hugepageLimits": [{"pageSize": "big", "limit": 1}]},
            'hugepageLimits[0].pageSize: must be a size such as 2MB or 1GB, not "big"',
        ),
        ({"unified": {"../memory.max": "1"}}, 'unified["../memory.max"]: must be a file name (no slashes)'),
    ],
)
def test_resources_that_cannot_be(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_resources(document)
    assert caught.value.problems == (problem,)


def test_zero_means_no_number_for_memory_and_cpu() -> None:
    """Go clients send the zero of a field they do not set; runc reads it so. A limit of 0 processes is a limit."""
    zeros = {
        "memory": {"limit": 0, "reservation": 0, "swap": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
    }

    assert parse_resources(zeros) == parse_resources({}) == Resources()


def test_any_negative_quota_means_none() -> None:
    assert parse_resources({"cpu": {"quota": -5}}).cpu_quota == -1


@pytest.mark.parametrize("cpus", ["-1", "1-", "a", "0 1", "0,,1", "70000", "0x1", "\u0661"])
def test_lists_of_cpus(cpus: str) -> None:
    with pytest.raises(InvalidConfig):
        parse_resources({"cpu": {"cpus": cpus}})
