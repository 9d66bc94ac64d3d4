"""Fixtures for tests of running containers."""

import pytest

from tests.conftest import Bundle, Runjail
from tests.lifecycle.life import Life, may_run


@pytest.fixture
def life(request: pytest.FixtureRequest) -> Life:
    """A bundle and the program, where containers can run; other machines skip the test."""
    if reason := may_run():
        pytest.skip(reason)
    runjail: Runjail = request.getfixturevalue("runjail")
    bundle: Bundle = request.getfixturevalue("bundle")
    return Life(runjail, bundle)
