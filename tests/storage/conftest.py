"""Stores to test with: one of directories, one in a ZFS dataset."""

import pytest

from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.storage.kinds import location
from tests.support.storage.zpool import dataset, zpool

__all__ = ["dataset", "location", "zpool"]


@pytest.fixture
def store(location: str) -> Store:
    """An empty store."""
    return open_store(location, default="/nonexistent")
