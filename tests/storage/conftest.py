"""Stores to test with: one of directories, one in a ZFS dataset."""

from pathlib import Path

import pytest

from runjail.storage.base import Store, open_store
from tests.storage.zpool import dataset, zpool

__all__ = ["dataset", "zpool"]


@pytest.fixture(params=["dir", pytest.param("zfs", marks=pytest.mark.needs("zfs"))])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be: both kinds, one after the other."""
    return f"dir:{tmp_path}/store" if request.param == "dir" else f"zfs:{request.getfixturevalue('dataset')}"


@pytest.fixture
def store(location: str) -> Store:
    """An empty store."""
    return open_store(location, default="/nonexistent")
