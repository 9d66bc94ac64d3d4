"""Fixtures for tests of layers."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory to unpack into."""
    root = tmp_path / "root"
    root.mkdir()
    return root
