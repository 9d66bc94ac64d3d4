"""Fixtures for tests of the shim."""

from pathlib import Path

import pytest

from tests.support.shim.fake_shim import Shim


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    """A shim without processes."""
    return Shim(tmp_path)
