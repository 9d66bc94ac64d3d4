"""Fixtures for tests of the shim."""

from pathlib import Path

import pytest

from tests.support.shim.caller import caller
from tests.support.shim.fake_shim import Shim
from tests.support.shim.peer import peer

__all__ = ["caller", "peer"]


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    """A shim without processes."""
    return Shim(tmp_path)
