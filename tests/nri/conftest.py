"""Plugins made for one test, and the configuration that names them."""

from pathlib import Path

import pytest

from tests.support.nri.plugins import Plugins


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    """Return empty directories for plugins."""
    return Plugins(tmp_path / "nri")
