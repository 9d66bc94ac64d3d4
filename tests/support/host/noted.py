"""Steps performed for one container, and taken back by their notes."""

from typing import Any

from runjail.host.base import HostState
from runjail.steps import Step


class Noted:
    """A container in the making. host and host_state are set by whoever inherits; notes: what `undo` would hold."""

    host: Any
    host_state: HostState

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []

    def apply(self, *steps: Step) -> None:
        """Perform steps."""
        for step in steps:
            self.host.apply(step, self.host_state, self.notes.append)

    def undo(self) -> None:
        """Take everything back, as delete does."""
        for note in reversed(self.notes):
            self.host.undo(note, self.host_state)
