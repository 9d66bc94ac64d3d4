"""runc's stats document from the files of a control group, on plain files of both versions."""

import os
import time
from pathlib import Path

import pytest

from runjail.host.linux import cgroups, usage

pytestmark = pytest.mark.needs("linux")

NO_LIMIT = 2**64 - 1
PRESSURE = "some avg10=1.50 avg60=0.25 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroups, "TOP", str(tmp_path))
    pages = tmp_path / "hugepages"
    for size in ("hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB"):
        (pages / size).mkdir(parents=True)
    monkeypatch.setattr(usage, "HUGE_PAGES", str(pages))
    return tmp_path


def write(directory: Path, **files: str) -> None:
    """Write files of a group; their names have `_` for the dots between words, `__` for `_`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", "\0").replace("_", ".").replace("\0", "_")).write_text(text)


def test_a_group_of_v2(top: Path) -> None:
    (top / "cgroup.controllers").touch()
    group = top / "a/web"
    write(group, cpu_stat="usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 70\n")
    write(group, memory_stat="anon 1\nfile 4096\n", memory_current="8192\n", memory_max="max\n", memory_peak="9000\n")
    write(group, memory_swap_current="100\n", memory_swap_max="500\n", cpu_pressure=PRESSURE)
    write(group, pids_current="3\n", pids_max="max\n", hugetlb_2MB_current="0\n", hugetlb_2MB_events="max 2\n")
    write(group, hugetlb_1GB_rsvd_current="5\n", hugetlb_1GB_current="4\n", hugetlb_1GB_events="max 0\n")
    write(group, io_stat="254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0\n8:16 rbytes=9\n7:0 \n")

    found = usage.stats("a/web", [1] * 99)

    assert found["cpu"]["usage"] == {"percpu": [], "total": 5000, "kernel": 2000, "user": 3000}
    assert found["cpu"]["throttling"] == {"periods": 9, "throttledPeriods": 4, "throttledTime": 70_000}
    assert found["cpu"]["psi"] == {
        "some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 7},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 3},
    }
    memory = found["memory"]
    assert memory["usage"] == {"limit": NO_LIMIT, "usage": 8192, "failcnt": 0, "max": 9000}
    assert (memory["swap"]["usage"], memory["swap"]["limit"]) == (8292, NO_LIMIT)
    assert (memory["cache"], memory["raw"]) == (4096, {"anon": 1, "file": 4096})
    assert found["pids"] == {"current": 3, "limit": 0}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 254, "minor": 0, "op": "Read", "value": 1},
            {"major": 254, "minor": 0, "op": "Write", "value": 2},
            {"major": 8, "minor": 16, "op": "Read", "value": 9},
        ],
        "ioServicedRecursive": [
            {"major": 254, "minor": 0, "op": "Read", "value": 3},
            {"major": 254, "minor": 0, "op": "Write", "value": 4},
        ],
    }
    assert found["hugetlb"] == {"1GB": {"usage": 5, "failcnt": 0}, "2MB": {"usage": 0, "failcnt": 2}}


def test_a_group_of_v1(top: Path) -> None:
    write(top / "cpuacct/g", cpuacct_stat="user 7\nsystem 2\n", cpuacct_usage="90000000\n")
    write(top / "cpuacct/g", cpuacct_usage__percpu="1 2 \n", cpuacct_usage__all="cpu user system\n0 5 6\n1 7 8\n")
    write(top / "cpu/g", cpu_stat="nr_periods 1\nnr_throttled 2\nthrottled_time 3\n")
    write(top / "cpuset/g", cpuset_cpus="0-2,5\n", cpuset_mems="0\n", cpuset_sched__relax__domain__level="-1\n")
    write(top / "memory/g", memory_stat="cache 12\nrss 1\n", memory_usage__in__bytes="7\n", memory_failcnt="4\n")
    write(top / "memory/g", memory_limit__in__bytes="100\n", memory_max__usage__in__bytes="9\n")
    write(top / "memory/g", memory_memsw_limit__in__bytes="200\n", memory_kmem_usage__in__bytes="3\n")
    write(top / "pids/g", pids_current="2\n", pids_max="50\n")
    write(top / "blkio/g", blkio_throttle_io__serviced="8:0 Read 4\n8:0 Total 4\nTotal 4\n")
    write(top / "blkio/g", blkio_throttle_io__service__bytes="", blkio_bfq_io__serviced__recursive="Total 0\n")
    write(
        top / "hugetlb/g",
        hugetlb_2MB_usage__in__bytes="1\n",
        hugetlb_2MB_max__usage__in__bytes="2\n",
        hugetlb_2MB_failcnt="3\n",
    )

    found = usage.stats("g", [1] * 99)

    assert found["cpu"]["usage"] == {
        "percpu": [1, 2], "total": 90_000_000, "kernel": 20_000_000, "user": 70_000_000,
        "percpu_kernel": [6, 8], "percpu_user": [5, 7],
    }  # fmt: skip
    assert found["cpu"]["throttling"] == {"periods": 1, "throttledPeriods": 2, "throttledTime": 3}
    assert (found["cpuset"]["cpus"], found["cpuset"]["mems"]) == ([0, 1, 2, 5], [0])
    assert found["cpuset"]["sched_relax_domain_level"] == -1
    assert found["memory"]["usage"] == {"limit": 100, "usage": 7, "max": 9, "failcnt": 4}
    assert (found["memory"]["swap"]["limit"], found["memory"]["kernel"]["usage"]) == (200, 3)
    assert (found["memory"]["cache"], found["memory"]["raw"]["rss"]) == (12, 1)
    assert found["pids"] == {"current": 2, "limit": 50}
    assert found["hugetlb"] == {"2MB": {"usage": 1, "failcnt": 3, "max": 2}}
    total = {"major": 8, "minor": 0, "op": "Total", "value": 4}
    assert found["blkio"] == {"ioServicedRecursive": [{**total, "op": "Read"}, total]}


def test_without_a_group_the_processes_are_counted(top: Path) -> None:
    """They were all that was counted; one that is gone meanwhile counts as one, and nothing more."""
    begun = time.process_time()
    while time.process_time() - begun < 0.05:  # so that the kernel has counted some ticks
        pass
    found = usage.stats("", [os.getpid(), 2**22 + 1])

    assert found["pids"] == {"current": 2, "limit": 0}
    assert 0 < found["cpu"]["usage"]["total"] <= (time.process_time() + 1) * 1e9
    assert found["cpu"]["usage"]["total"] == found["cpu"]["usage"]["user"] + found["cpu"]["usage"]["kernel"]
    assert found["memory"]["usage"]["usage"] > 1 << 20 and found["memory"]["usage"]["limit"] == 0
    assert found["blkio"] == {}
