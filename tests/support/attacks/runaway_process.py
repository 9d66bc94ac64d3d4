"""A process that tries to outlive whoever started it."""

import sys
import time
from pathlib import Path

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
