"""Fixtures for tests of running containers."""

import pytest

from tests.conftest import Bundle, Runjail
from tests.container.harness import Life


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    """A bundle and the program."""
    return Life(runjail, bundle)
