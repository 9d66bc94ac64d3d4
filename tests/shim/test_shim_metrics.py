"""What metrics say: runc's stats document and what it lacks in, a message of containerd's cgroups module out."""

from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.host.base import HostState
from runjail.host.freebsd.shim import FreeBSDShim
from runjail.host.linux import cgroups
from runjail.host.linux.more_usage import more_usage
from runjail.shim import messages
from runjail.shim.metrics import NO_LIMIT, metrics

PSI = {kind: {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 7} for kind in ("some", "full")}
USAGE: dict[str, Any] = {
    "cpu": {
        "usage": {"total": 5000, "kernel": 2000, "user": 3000, "percpu": [4000, 1000]},
        "throttling": {"periods": 7, "throttledPeriods": 8, "throttledTime": 9000},
    },
    "memory": {
        "usage": {"usage": 10, "limit": 11, "max": 12, "failcnt": 13},
        "swap": {"usage": 14, "limit": 15},
        "kernel": {"usage": 16},
        "kernelTCP": {},
        "raw": {
            "pgpgin": 21,
            "total_pgpgin": 22,
            "inactive_file": 23,
            "total_inactive_file": 24,
            "other": 1,
            "anon": 25,
        },
    },
    "pids": {"current": 15, "limit": 0},
    "blkio": {
        "ioServiceBytesRecursive": [
            {"major": 254, "minor": 1, "op": "Read", "value": 31},
            {"major": 254, "minor": 1, "op": "Write", "value": 32},
        ],
        "ioServicedRecursive": [{"major": 254, "minor": 1, "op": "Read", "value": 33}],
    },
    "hugetlb": {"2MB": {"usage": 41, "failcnt": 42}},
}
RDMA = {
    "current": [{"device": "mlx4_0", "hca_handles": 2, "hca_objects": 2000}],
    "limit": [{"device": "mlx4_0", "hca_handles": 3, "hca_objects": 2**32 - 1}],
}
MORE = {
    "unified": False,
    "memory_events": {"oom_kill_disable": 0, "under_oom": 1, "oom_kill": 3},
    "devices": {"254:1": "/dev/vda1"},
    "rdma": RDMA,
}


def test_v1() -> None:
    packed = metrics(USAGE, MORE)
    found = protobuf.decode(messages.METRICS_V1, packed["value"])

    assert packed["type_url"] == "io.containerd.cgroups.v1.Metrics"
    assert found["cpu"]["usage"] == {"total": 5000, "kernel": 2000, "user": 3000, "per_cpu": [4000, 1000]}
    assert found["cpu"]["throttling"] == {"periods": 7, "throttled_periods": 8, "throttled_time": 9000}
    memory = found["memory"]
    assert memory["usage"] == {"limit": 11, "usage": 10, "max": 12, "failcnt": 13}
    assert (memory["swap"]["usage"], memory["kernel"]["usage"]) == (14, 16)
    assert (memory["pg_pg_in"], memory["total_pg_pg_in"], memory["total_inactive_file"]) == (21, 22, 24)
    assert found["pids"] == {"current": 15, "limit": 0}
    assert [(each["device"], each["op"], each["value"]) for each in found["blkio"]["io_service_bytes_recursive"]] == [
        ("/dev/vda1", "Read", 31),
        ("/dev/vda1", "Write", 32),
    ]
    assert found["hugetlb"] == [{"usage": 41, "max": 0, "failcnt": 42, "pagesize": "2MB"}]
    assert found["rdma"] == RDMA
    assert found["memory_oom_control"] == MORE["memory_events"]


def test_v2() -> None:
    events = {"low": 1, "high": 2, "max": 3, "oom": 4, "oom_kill": 5, "oom_group_kill": 6}
    swap, hugetlb = {"current": 4, "max": NO_LIMIT, "peak": 5}, {"2MB": 43}
    usage = {**USAGE, **{part: {**USAGE[part], "psi": PSI} for part in ("cpu", "memory", "blkio")}}
    packed = metrics(usage, {**MORE, "unified": True, "memory_events": events, "swap": swap, "hugetlb": hugetlb})
    found = protobuf.decode(messages.METRICS_V2, packed["value"])

    assert packed["type_url"] == "io.containerd.cgroups.v2.Metrics"
    assert found["pids"] == {"current": 15, "limit": NO_LIMIT}
    assert (found["cpu"]["usage_usec"], found["cpu"]["throttled_usec"]) == (5, 9)
    assert [found[part]["psi"] for part in ("cpu", "memory", "io")] == [PSI, PSI, PSI]
    memory = found["memory"]
    assert (memory["anon"], memory["inactive_file"], memory["usage"], memory["usage_limit"]) == (25, 23, 10, 11)
    assert (memory["swap_usage"], memory["swap_limit"], memory["swap_max_usage"]) == (4, NO_LIMIT, 5)
    assert found["io"]["usage"] == [{"major": 254, "minor": 1, "rbytes": 31, "wbytes": 32, "rios": 33, "wios": 0}]
    assert found["hugetlb"] == [{"current": 41, "max": 43, "pagesize": "2MB"}]
    assert found["memory_events"] == {"low": 1, "high": 2, "max": 3, "oom": 4, "oom_kill": 5}
    assert found["rdma"] == RDMA


def test_a_system_that_counts_little() -> None:
    """FreeBSD without accounting: what is not counted is there and 0, clients do not ask whether it is there."""
    usage = {
        "cpu": {"usage": {"total": 0, "percpu": []}, "throttling": {}},
        "memory": {"usage": {"usage": 1}, "swap": {}, "kernel": {}, "kernelTCP": {}, "raw": {"memoryuse": 6}},
        "pids": {"current": 1, "limit": 0},
        "blkio": {},
        "hugetlb": {},
    }
    more = FreeBSDShim.more_usage(None, HostState("web", "web", "/state", "/root", "/root"))  # type: ignore[arg-type]
    found = protobuf.decode(messages.METRICS_V1, metrics(usage, more)["value"])

    assert (found["memory"]["usage"]["limit"], found["memory"]["rss"], found["memory"]["total_rss"]) == (0, 6, 6)
    assert found["memory"]["swap"] is not None
    assert (found["hugetlb"], found["rdma"]) == ([], None)


@pytest.mark.parametrize("unified", [True, False])
def test_what_linux_has_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unified: bool) -> None:
    """Files of control groups as the kernel writes them (cgroup-v2.rst, rdma.rst)."""
    monkeypatch.setattr(cgroups, "TOP", str(tmp_path))
    monkeypatch.setattr(cgroups, "unified", lambda: unified)
    memory, rdma = (tmp_path / "web",) * 2 if unified else (tmp_path / "memory" / "web", tmp_path / "rdma" / "web")
    for path in {memory, rdma}:
        path.mkdir(parents=True)
    (memory / ("memory.events" if unified else "memory.oom_control")).write_text("oom_kill 2\n", encoding="ascii")
    (rdma / "rdma.current").write_text("mlx4_0 hca_handle=2 hca_object=2000\n", encoding="ascii")
    (rdma / "rdma.max").write_text("mlx4_0 hca_handle=3 hca_object=max\n", encoding="ascii")
    (memory / "memory.swap.max").write_text("max\n", encoding="ascii")
    (memory / "hugetlb.2MB.max").write_text("4096\n", encoding="ascii")
    (memory / "hugetlb.2MB.rsvd.max").write_text("max\n", encoding="ascii")
    host_state = HostState("web", "web", "/state", "/root", "/root")
    host_state.cgroup = "web"
    found = more_usage(host_state)

    assert (found["unified"], found["memory_events"], found["rdma"]) == (unified, {"oom_kill": 2}, RDMA)
    if unified:
        assert found["swap"] == {"current": 0, "max": NO_LIMIT, "peak": 0}
        assert found["hugetlb"] == {"2MB": 4096}


def test_a_container_without_a_group() -> None:
    found = more_usage(HostState("web", "web", "/state", "/root", "/root"))

    assert (found["memory_events"], found["rdma"]) == ({}, None)
