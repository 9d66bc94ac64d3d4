"""What several kinds of attacks need."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.registry.conftest import client_of, fake, far_away
from tests.nri.conftest import Plugins

__all__ = ["client_of", "fake", "far_away"]  # fixtures

RUNAWAY = Path(__file__).with_name("runaway.py")


class Runaway:
    """A process that tries to outlive whoever started it, and how it is seen: its file of beats grows."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.beats = directory, directory / "beats"
        directory.mkdir()

    def command(self, style: str = "") -> str:
        """Return the line for a shell that starts it and waits for its first sign of life."""
        return f"{sys.executable} -IS {RUNAWAY} {self.directory} {style}"

    def ran(self) -> bool:
        """Whether it was alive at all."""
        return self.beats.exists() and self.beats.stat().st_size > 0

    def lives(self, seconds: float = 0.5) -> bool:
        """Whether it shows a sign of life within this time."""
        before, end = self.beats.stat().st_size, time.monotonic() + seconds
        while time.monotonic() < end:
            if self.beats.stat().st_size > before:
                return True
            time.sleep(0.02)
        return False


@pytest.fixture
def runaway(tmp_path: Path) -> Iterator[Runaway]:
    """One such process; it ends with the test."""
    made = Runaway(tmp_path / "runaway")
    yield made
    (made.directory / "end").touch()
    if made.ran():
        assert not made.lives(0.5), "the test's own process does not end"


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    """Empty directories for NRI plugins."""
    return Plugins(tmp_path / "nri")
