"""Which limits go to which files of which version, and what is refused; the words are those that runc writes."""

import os
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.host.base import HostState
from runjail.host.linux import cgroup_settings, cgroups
from runjail.host.linux.cgroup_settings import settings
from runjail.spec.model import BlockLimit, Resources
from runjail.steps import Cgroup
from tests.support.container.harness import Life
from tests.support.program import Bundle, Runjail

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"swappiness": 0}, ["memory/memory.swappiness=0"], []),
    ({"oom_killer_off": True}, ["memory/memory.oom_control=1"], []),
    ({"oom_killer_off": False}, [], []),
    ({"cpu_idle": 1}, ["cpu/cpu.idle=1"], ["cpu/cpu.idle=1"]),
    (
        {"cpu_period": 1000, "cpu_quota": 2000, "cpu_burst": 500},
        ["cpu/cpu.cfs_period_us=1000", "cpu/cpu.cfs_quota_us=2000", "cpu/cpu.cfs_burst_us=500"],
        ["cpu/cpu.max=2000 1000", "cpu/cpu.max.burst=500"],
    ),
    (
        {"realtime_period": 1000000, "realtime_runtime": 950000},
        ["cpu/cpu.rt_period_us=1000000", "cpu/cpu.rt_runtime_us=950000"],
        [],
    ),
    (
        {"hugepages": (("2MB", 0), ("1GB", 2**30))},
        ["hugetlb/hugetlb.2MB.limit_in_bytes=0", f"hugetlb/hugetlb.1GB.limit_in_bytes={2**30}"],
        ["hugetlb/hugetlb.2MB.max=0", f"hugetlb/hugetlb.1GB.max={2**30}"],
    ),
    (
        {"block": (BlockLimit("weight", "", 10), BlockLimit("weight", "8:0", 1000), BlockLimit("leaf_weight", "", 50))},
        ["blkio/blkio.weight=10", "blkio/blkio.weight_device=8:0 1000", "blkio/blkio.leaf_weight=50"],
        ["io/io.weight=default 1", "io/io.weight=8:0 10000"],
    ),
    (
        {"block": (BlockLimit("rbps", "8:0", 1048576), BlockLimit("wiops", "8:16", 0))},
        ["blkio/blkio.throttle.read_bps_device=8:0 1048576", "blkio/blkio.throttle.write_iops_device=8:16 0"],
        ["io/io.max=8:0 rbps=1048576", "io/io.max=8:16 wiops=max"],
    ),
    (
        {"class_id": 1048577, "priorities": (("eth0", 5), ("lo", 0))},
        ["net_cls/net_cls.classid=1048577", "net_prio/net_prio.ifpriomap=eth0 5", "net_prio/net_prio.ifpriomap=lo 0"],
        [],
    ),
    (
        {"rdma": (("mlx5_1", 3, None), ("mlx4_0", 2, 1000))},
        ["rdma/rdma.max=mlx5_1 hca_handle=3", "rdma/rdma.max=mlx4_0 hca_handle=2 hca_object=1000"],
        ["rdma/rdma.max=mlx5_1 hca_handle=3", "rdma/rdma.max=mlx4_0 hca_handle=2 hca_object=1000"],
    ),
]


def test_what_v2_does_not_have_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """It is dropped there, by runc too; but not silently."""
    asked = Resources(swappiness=0, oom_killer_off=True, realtime_period=1, realtime_runtime=1, class_id=1)
    asked = asked.replace(block=(BlockLimit("leaf_weight", "", 50),), priorities=(("lo", 0),))

    assert settings(asked, unified=True) == []
    places = "memory.swappiness, memory.disableOOMKiller, cpu.realtimePeriod, cpu.realtimeRuntime, blockIO.leafWeight"
    places += ", network.classID, network.priorities"
    assert f"not enforced: {places} (control groups v2 have no such thing)" in capfd.readouterr().err
    settings(Resources(cpu_shares=5, block=(BlockLimit("weight", "", 50),)), unified=True)
    settings(asked, unified=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("limits", "v1", "v2"), CASES)
def test_files(limits: dict[str, Any], v1: list[str], v2: list[str]) -> None:
    resources = Resources(**limits)

    assert [f"{controller}/{file}={value}" for controller, file, value in settings(resources, unified=False)] == v1
    assert [f"{controller}/{file}={value}" for controller, file, value in settings(resources, unified=True)] == v2


@pytest.mark.parametrize("weight", [10, 11, 300, 999, 1000])
def test_a_kernel_with_bfq_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: int) -> None:
    """Its file takes the weights of config.json as they are."""
    (tmp_path / "web").mkdir()
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "web/io.bfq.weight").touch()
    monkeypatch.setattr(cgroups, "TOP", str(tmp_path))
    state = HostState("c", "c", "", "", "")
    state.cgroup = "web"
    for device, said in (("8:0", "8:0"), ("", "default")):
        limits = Resources(block=(BlockLimit("weight", device, weight),))
        cgroup_settings.create(Cgroup("web", limits), state, lambda _note: None)
        assert (tmp_path / "web/io.bfq.weight").read_text() == f"{said} {weight}"


def test_unified_is_the_last_word_and_of_v2_alone() -> None:
    resources = Resources(memory_limit=5, unified=(("memory.high", "4"), ("memory.max", "6")))

    assert [value for _, file, value in settings(resources, unified=True) if file == "memory.max"] == ["5", "6"]
    with pytest.raises(HostError, match=r"linux\.resources\.unified: cannot be used on cgroup v1"):
        settings(resources, unified=False)


@pytest.mark.parametrize(("limit", "check", "refused"), [(4095, True, True), (4095, False, False), (4096, True, False)])
def test_a_limit_below_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, check: bool, refused: bool
) -> None:
    """Only on demand: it ends processes."""
    (tmp_path / "web").mkdir()
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "web/memory.current").write_text("4096\n")
    (tmp_path / "web/memory.max").write_text("max")
    monkeypatch.setattr(cgroups, "TOP", str(tmp_path))
    state = HostState("c", "c", "", "", "")
    state.cgroup = "web"
    step = Cgroup("web", Resources(memory_limit=limit, check_before_update=check))
    if refused:
        with pytest.raises(HostError, match="rejecting memory limit 4095 < usage 4096"):
            cgroup_settings.create(step, state, lambda _note: None)
    else:
        cgroup_settings.create(step, state, lambda _note: None)
    assert (tmp_path / "web/memory.max").read_text() == ("max" if refused else str(limit))


@pytest.mark.linux
@pytest.mark.needs("cgroups")
def test_a_real_rate_and_update(runjail: Runjail, bundle: Bundle) -> None:
    device = os.stat("/").st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    if not Path(f"{cgroups.TOP}/blkio").is_dir() or not Path(f"/sys/dev/block/{name}").exists():
        pytest.skip("no blkio of cgroup v1, or / is on no block device")
    life = Life(runjail, bundle)
    rate = {"major": os.major(device), "minor": os.minor(device), "rate": 1048576}
    bundle.config["linux"]["resources"] = {"blockIO": {"throttleReadBpsDevice": [rate]}}
    life.sleep()
    path = Path(f"{cgroups.TOP}/blkio", _group(life))

    assert (path / "blkio.throttle.read_bps_device").read_text() == f"{name} 1048576\n"
    life.runjail.ok("delete", "-f", "c")
    assert not path.exists()


def _group(life: Life) -> str:
    """Return the group of blkio in which init is."""
    lines = Path(f"/proc/{life.runjail.state('c')['pid']}/cgroup").read_text().splitlines()
    return next(line.rpartition(":")[2] for line in lines if ":blkio:" in line).lstrip("/")
