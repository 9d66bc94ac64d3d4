"""Progress of transfers: lines that are redrawn on a terminal, nothing in a pipe."""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock

from runjail.image.model import Descriptor
from runjail.sizes import show_size

TICK = 0.1  # seconds between two drawings
BAR = 24


class Progress:
    """One line for each blob: how much of it has arrived, and how fast. Call it from any thread with what came.

    As a context it leaves the last picture on the screen. show: None for "when standard error is a terminal".
    """

    def __init__(self, show: bool | None = None) -> None:
        self.show = sys.stderr is not None and os.isatty(2) if show is None else show
        self._lock = allocate_lock()
        # descriptor, bytes so far, since when, what is done to it
        self._blobs: dict[str, tuple[Descriptor, int, float, str]] = {}
        self._lines = 0
        self._next = 0.0

    def unpacked(self, descriptor: Descriptor, count: int) -> None:
        """Take note of `count` more bytes of a layer that are unpacked: its line begins anew."""
        self(descriptor, count, "unpacked")

    def __call__(self, descriptor: Descriptor, count: int, done: str = "") -> None:
        """Take note of `count` more bytes of a blob. done: what was done to them, "" for their arrival."""
        if not self.show:
            return
        now = time.monotonic()
        with self._lock:
            what, before, since, doing = self._blobs.get(descriptor.digest, (descriptor, 0, now, done))
            if doing != done:
                before, since = 0, now
            self._blobs[descriptor.digest] = (what, before + count, since, done)
            if now >= self._next:
                self._next = now + TICK
                self._draw(now)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._blobs:
                self._draw(time.monotonic())
            self._blobs.clear()
            self._lines = 0

    def _draw(self, now: float) -> None:
        columns, rows = _screen()
        shown = list(self._blobs.values())[-max(1, rows - 2) :]
        lines = [_line(*blob, now)[: columns - 1] for blob in shown]
        back = f"\x1b[{self._lines}A" if self._lines else ""
        text = back + "".join(f"\r{line}\x1b[K\n" for line in lines)
        self._lines = len(lines)
        try:
            os.write(2, text.encode())
        except OSError:  # the terminal is gone; the transfer is not
            self.show = False


def _screen() -> tuple[int, int]:
    try:
        return os.get_terminal_size(2)
    except OSError:
        return 80, 24


def _line(descriptor: Descriptor, done: int, since: float, doing: str, now: float) -> str:
    short = descriptor.digest.partition(":")[2][:12]
    whole = max(descriptor.size, 1)
    filled = min(BAR, done * BAR // whole)
    rate = f"{show_size(done / (now - since))}/s" if now - since > TICK else ""
    bar = f"[{'=' * filled}{' ' * (BAR - filled)}]"
    return f"{short} {bar} {show_size(done):>8} of {show_size(descriptor.size):>8}  {rate}  {doing}".rstrip()
