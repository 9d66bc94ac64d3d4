"""ZFS datasets that are given to a container of a real FreeBSD."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from runjail.errors import HostError
from runjail.steps import JailDataset
from tests.support.freebsd.real import Real, tool

pytestmark = pytest.mark.freebsd


@pytest.fixture
def dataset() -> Iterator[str]:
    """A dataset of a pool that this machine has."""
    pools = subprocess.run(["zpool", "list", "-Ho", "name"], capture_output=True, text=True, check=False).stdout.split()
    if not pools:
        pytest.skip("needs a ZFS pool")
    name = f"{pools[0]}/rjjail{os.getpid()}"
    tool("zfs", "create", "-o", "jailed=on", "-o", "mountpoint=/data", name)
    yield name
    tool("zfs", "destroy", "-r", name)


def test_a_dataset_that_the_container_manages(real: Real, dataset: str) -> None:
    real.build(annotations={"org.runjail.zfs.dataset": dataset})
    tool("zfs", "snapshot", f"{dataset}@before")

    assert real.jls("allow.mount.zfs", "enforce_statfs") == ["true", "1"]
    real.inside(lambda: os.mkdir("/data"))
    said = real.inside(lambda: real.libc.nmount([("fstype", "zfs"), ("fspath", "/data"), ("from", dataset)], 0))
    assert (said, real.mounts()) == ("None", ["data"])
    with pytest.raises(HostError, match="dataset already exists"):
        real.apply(JailDataset(dataset))
    real.undo()
    assert real.mounts() == []


def test_a_dataset_of_the_host_is_not_given_away(real: Real, dataset: str) -> None:
    tool("zfs", "set", "jailed=off", "mountpoint=none", dataset)

    with pytest.raises(HostError, match="its property jailed is off"):
        real.build(annotations={"org.runjail.zfs.dataset": dataset})
