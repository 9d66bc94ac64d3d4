"""Stores to test with: one of directories, one in a ZFS dataset."""

from pathlib import Path

import pytest

from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.storage.fake_zfs import FakeZfs
from tests.support.storage.kinds import location
from tests.support.storage.zpool import dataset, zpool

__all__ = ["dataset", "location", "zpool"]


@pytest.fixture
def store(location: str) -> Store:
    """An empty store."""
    return open_store(location, default="/nonexistent")


@pytest.fixture
def fake_zfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeZfs:
    """A zfs(8) in memory."""
    fake = FakeZfs(str(tmp_path / "tank"))
    monkeypatch.setattr("runjail.storage.zfs_datasets.os.path.ismount", fake.is_mounted)
    return fake
