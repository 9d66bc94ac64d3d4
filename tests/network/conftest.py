"""Fixtures for tests of networks."""

from pathlib import Path

import pytest

from tests.support.network.plugins import Cni


@pytest.fixture
def cni(tmp_path: Path) -> Cni:
    """Two plugins and a network of them."""
    found = Cni(tmp_path / "cni")
    found.add("first", "second")
    found.write("web", {"type": "first"}, {"type": "second", "capabilities": {"portMappings": True}, "more": 1})
    return found
