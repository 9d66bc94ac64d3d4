"""What containerd's tasks do alike, whichever shim they run under."""

from pathlib import Path
from typing import Any, Protocol

from tests.support.peers.commands import Finished, eventually


class Tasks(Protocol):
    """ctr and a runtime; `rootfs` is what its containers run on."""

    rootfs: Path

    def detached(self, id: str, *command: str) -> int:
        """Run a container in the background."""

    def ok(self, *args: str, **more: Any) -> Finished:
        """Run ctr and insist on success."""

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Return pid and status of every task."""


def pause_and_resume(ctr: Tasks) -> None:
    """A container that counts in a file stands still while it is paused."""
    ctr.detached("web", "sh", "-c", "while :; do echo x >>/tmp/count; sleep 0.02; done")
    count = ctr.rootfs / "tmp" / "count"
    eventually(count.exists, "it counts")
    ctr.ok("task", "pause", "web")
    before = count.stat().st_size

    assert ctr.tasks()["web"][1] == "PAUSED"
    assert count.stat().st_size == before
    ctr.ok("task", "resume", "web")
    eventually(lambda: count.stat().st_size > before, "it counts again")
    assert ctr.tasks()["web"][1] == "RUNNING"
    count.unlink()
