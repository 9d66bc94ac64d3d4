"""Fixtures for tests of running containers."""

from pathlib import Path
from typing import Any

import pytest

from runjail.container.container import Runtime
from tests.support.container.fake_host import FakeHost


@pytest.fixture
def host() -> FakeHost:
    """A host that only remembers."""
    return FakeHost()


@pytest.fixture
def runtime(tmp_path: Path, host: Any) -> Runtime:
    """A state root that is not there yet."""
    return Runtime(host, str(tmp_path / "state"))
