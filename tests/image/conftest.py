"""Fixtures for tests of images."""

from pathlib import Path

import pytest

from runjail.image.content.store import ContentStore
from tests.support.image.images import Layout
from tests.support.storage.zpool import dataset, zpool

__all__ = ["dataset", "zpool"]


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    """An empty content store."""
    return ContentStore(str(tmp_path / "content"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout to put images into."""
    return Layout(tmp_path / "layout")
