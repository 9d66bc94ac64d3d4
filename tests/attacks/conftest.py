"""What several kinds of attacks need."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.registry.conftest import client_of, fake, far_away
from tests.support.attacks.runaway_process import Runaway
from tests.support.container.harness import until
from tests.support.nri.plugins import Plugins
from tests.support.program import TOP
from tests.support.shim.caller import caller
from tests.support.shim.peer import peer

__all__ = ["caller", "client_of", "fake", "far_away", "peer"]  # fixtures


@pytest.fixture(scope="session")
def spy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("spy") / "spy"
    source = str(TOP / "tests/support/attacks/spy.c")
    subprocess.run(["gcc", "-O1", "-static", "-o", str(made), source], check=True)
    return made


@pytest.fixture
def runaway(tmp_path: Path) -> Iterator[Runaway]:
    """One such process; it ends with the test."""
    made = Runaway(tmp_path / "runaway")
    yield made
    (made.directory / "end").touch()
    if made.ran():
        until(lambda: not made.lives())  # the test's own process ends


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    """Empty directories for NRI plugins."""
    return Plugins(tmp_path / "nri")
