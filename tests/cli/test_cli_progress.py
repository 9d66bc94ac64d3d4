"""What a transfer shows: redrawn lines on a terminal, nothing in a pipe."""

import os
import pty
import threading

import pytest

from runjail.cli.progress import Progress, _line
from runjail.image.model import Descriptor
from runjail.sizes import show_size

LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar", "sha256:" + "ab" * 32, 2000)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (265_000_000, "265 MB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert show_size(count) == text


def shown(pieces: int, terminal: bool) -> str:
    """Return what is written to standard error while a layer arrives in pieces from two threads."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    saved = os.dup(2)
    os.dup2(theirs, 2)
    try:
        with Progress() as progress:
            steps = [threading.Thread(target=lambda: [progress(LAYER, 10) for _ in range(pieces)]) for _ in range(2)]
            for step in steps:
                step.start()
            for step in steps:
                step.join()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(theirs)
    os.set_blocking(ours, False)
    try:
        return os.read(ours, 1 << 16).decode()
    except OSError:  # a terminal without its other end is in error
        return ""
    finally:
        os.close(ours)


def test_nothing_in_a_pipe() -> None:
    assert shown(100, terminal=False) == ""


def test_a_line_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last picture is whole; drawing again goes up as many lines as were drawn."""
    drawn: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda _fd, data: drawn.append(data) or len(data))
    with Progress(show=True) as progress:
        progress(LAYER, 500)
        progress(LAYER, 1500)

    assert drawn[0].startswith(b"\rabababababab [======  ")
    assert drawn[-1].startswith(b"\x1b[1A\rabababababab [========================]   2.0 kB of   2.0 kB")


def test_a_terminal_that_goes_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_fd: int, _data: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", gone)
    with Progress(show=True) as progress:
        progress(LAYER, 1)
        progress(LAYER, 1)

    assert not progress.show


def test_the_line_of_a_layer_begins_anew_when_it_is_unpacked() -> None:
    progress = Progress(True)
    seen: list[str] = []
    progress._draw = lambda now: seen.extend(_lines(progress, now))  # type: ignore[method-assign]
    progress(LAYER, 2000)
    progress._next = 0.0
    progress.unpacked(LAYER, 500)
    progress._next = 0.0
    progress.unpacked(LAYER, 1500)

    assert [line.split("]")[1].split() for line in seen] == [
        ["2.0", "kB", "of", "2.0", "kB"],
        ["500", "B", "of", "2.0", "kB", "unpacked"],
        ["2.0", "kB", "of", "2.0", "kB", "unpacked"],
    ]


def _lines(progress: Progress, now: float) -> list[str]:
    return [_line(*blob, min(now, blob[2])) for blob in progress._blobs.values()]
