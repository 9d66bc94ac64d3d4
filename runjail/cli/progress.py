"""Progress of transfers and of work on layers: bars on a terminal, now and then a line elsewhere.

click's progressbar is one line about one iterable; here several threads tell of several blobs.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock

from runjail.image.model import Descriptor
from runjail.record import Record
from runjail.scope import scope
from runjail.sizes import show_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 1.0  # seconds that copying a root may take before it is shown
TICK = 0.1  # seconds between two drawings
LINE_SECONDS = 10.0  # between two lines about a blob where there is no terminal: what is faster says nothing
BAR, SHORTEST_BAR = 24, 5
BESIDE_BAR = len(" []  99.9 MB of  100 MB  99.9 MB/s  0:59 left  decrypted")  # so that no bar changes its width
SHORT, LONGEST_NAME = 12, 24
MOST_HOURS = 100  # whatever takes longer has no time that is worth telling


class _Blob(Record):
    """What is known of one blob. done: bytes; since: when its present work began; doing: what is done to it."""

    descriptor: Descriptor
    done: int
    since: float
    doing: str


class Progress:
    """One bar for each blob: how much of it is done, how fast, and how long the rest takes. Any thread may call it.

    As a context it leaves the last picture on the screen. terminal: None for "when standard error is one"; without
    one, whatever takes longer than LINE_SECONDS is a line of its own now and then, for logs. quiet: nothing at all.
    patience: seconds in which nothing is drawn; what is over by then is never seen.
    """

    def __init__(self, terminal: bool | None = None, *, quiet: bool = False, patience: float = 0.0) -> None:
        self.show = sys.stderr is not None and not quiet
        self.terminal = self.show and os.isatty(2) if terminal is None else terminal
        self._lock = allocate_lock()
        self._blobs: dict[str, _Blob] = {}
        self._told: dict[str, float] = {}  # when there was a line about a blob
        self._lines = 0
        self._patience = patience
        self._next = time.monotonic() + patience if patience else 0.0

    def unpacked(self, descriptor: Descriptor, count: int) -> None:
        """Take note of `count` more bytes of a layer that are unpacked: its line begins anew."""
        self(descriptor, count, "unpacked")

    def __call__(self, descriptor: Descriptor, count: int, doing: str = "") -> None:
        """Take note of `count` more bytes of a blob. doing: what is done to them, "" for their arrival.

        What is no blob yet has a name for a digest; what has no size has no end to show.
        """
        if not self.show:
            return
        now = time.monotonic()
        with self._lock:
            key = descriptor.digest
            blob = self._blobs.get(key)
            if not blob or blob.doing != doing:
                blob = _Blob(descriptor, 0, now, doing)
            blob = self._blobs[key] = blob.replace(done=blob.done + count)
            if self.terminal:
                if now >= self._next:
                    self._next = now + TICK
                    self._draw(now)
            else:
                self._tell(key, blob, now)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._blobs and self.terminal and self.show and (self._lines or not self._patience):
                self._draw(time.monotonic())
            self._blobs.clear()
            self._lines = 0

    def _draw(self, now: float) -> None:
        columns, rows = _screen()
        shown = list(self._blobs.values())[-max(1, rows - 2) :]
        lines = [_bar_line(blob, now, columns - 1) for blob in shown]
        back = f"\x1b[{self._lines}A" if self._lines else ""
        self._write(back + "".join(f"\r{line}\x1b[K\n" for line in lines))
        self._lines = len(lines)

    def _tell(self, key: str, blob: _Blob, now: float) -> None:
        """Write a line about a blob that takes long, and one when it is done if there was one before."""
        last = self._told.get(key, blob.since)
        over = bool(blob.descriptor.size) and blob.done >= blob.descriptor.size
        if now - last < LINE_SECONDS and not (over and key in self._told):
            return
        self._told[key] = now
        self._write(_plain_line(blob, now) + "\n")
        if over:
            del self._told[key]

    def _write(self, text: str) -> None:
        try:
            os.write(2, text.encode())
        except OSError:  # the terminal is gone; the transfer is not
            self.show = False


@scope
def copying(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a container's root is copied, once that takes a while. It is told bytes more, of how many."""
    with Progress(quiet=quiet, patience=PATIENCE) as progress:
        yield lambda count, total: progress(Descriptor("", f"root of {name}", total), count, "copied")


def _screen() -> tuple[int, int]:
    """Return columns and rows; a terminal that nobody has given a size (expect(1)) has none."""
    try:
        columns, rows = os.get_terminal_size(2)
    except OSError:
        columns = rows = 0
    return columns or 80, rows or 24


def _name(descriptor: Descriptor) -> str:
    """Return the beginning of a digest, or the end of another name."""
    name, colon, rest = descriptor.digest.rpartition(":")
    return rest[:SHORT] if colon and "/" not in name else os.path.basename(descriptor.digest)[-LONGEST_NAME:]


def _speed(blob: _Blob, now: float) -> tuple[str, str]:
    """Return how many bytes a second there were, and how long the rest takes at that; "" for what cannot be known."""
    seconds = now - blob.since
    if seconds <= TICK or not blob.done:
        return "", ""
    rate, left = blob.done / seconds, blob.descriptor.size - blob.done
    return f"{show_size(rate)}/s", show_time(left / rate) if left > 0 else ""


def show_time(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss, "" for one of days."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours >= MOST_HOURS:
        return ""
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _bar_line(blob: _Blob, now: float, columns: int) -> str:
    """Return a bar with what is known beside it, as wide as there is room."""
    size, (rate, left) = blob.descriptor.size, _speed(blob, now)
    amount = f"{show_size(blob.done):>8}" + (f" of {show_size(size):>8}" if size else "")
    rest = "  ".join([amount, *filter(None, (rate, left and f"{left} left", blob.doing))])
    name = _name(blob.descriptor)
    width = min(BAR, columns - len(name) - BESIDE_BAR)
    if not size or width < SHORTEST_BAR:
        return f"{name} {rest}"[:columns]
    filled = min(width, blob.done * width // size)
    return f"{name} [{'=' * filled}{' ' * (width - filled)}] {rest}"[:columns]


def _plain_line(blob: _Blob, now: float) -> str:
    size, (rate, left) = blob.descriptor.size, _speed(blob, now)
    amount = (
        f"{show_size(blob.done)} of {show_size(size)} ({blob.done * 100 // size} %)" if size else show_size(blob.done)
    )
    words = [amount, rate, left and f"{left} left", blob.doing]
    return f"{_name(blob.descriptor)}: {', '.join(filter(None, words))}"
