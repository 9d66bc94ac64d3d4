"""Fixtures for tests of running containers."""

from pathlib import Path
from typing import Any

import pytest

from runjail.container.container import Runtime
from tests.support.container.fake_host import FakeHost
from tests.support.container.harness import Life
from tests.support.program import Bundle, Runjail


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    """A bundle and the program."""
    return Life(runjail, bundle)


@pytest.fixture
def host() -> FakeHost:
    """A host that only remembers."""
    return FakeHost()


@pytest.fixture
def runtime(tmp_path: Path, host: Any) -> Runtime:
    """A state root that is not there yet."""
    return Runtime(host, str(tmp_path / "state"))
