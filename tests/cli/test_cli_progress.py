"""What a transfer shows: bars on a terminal, now and then a line in a pipe."""

import os
import pty
import threading
import time

import pytest

from runjail.cli import progress as module
from runjail.cli.progress import Progress, show_time
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


class Clock:
    """What is written while time goes on as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.drawn = 0.0, []  # type: tuple[float, list[str]]
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(os, "write", lambda _fd, data: self.drawn.append(data.decode()) or len(data))
        monkeypatch.setattr(module, "_screen", lambda: (100, 24))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)


def test_a_line_that_is_redrawn(clock: Clock) -> None:
    """The last picture is whole; drawing again goes up as many lines as were drawn."""
    with Progress(terminal=True) as progress:
        progress(LAYER, 500)
        progress(LAYER, 1500)

    assert clock.drawn[0].startswith("\rabababababab [======  ")
    assert clock.drawn[-1].startswith("\x1b[1A\rabababababab [========================]   2.0 kB of   2.0 kB")


def test_rate_and_time_that_is_left(clock: Clock) -> None:
    """A quarter in five seconds leaves fifteen; nobody knows before anything has come, nor needs it when all has."""
    with Progress(terminal=True) as progress:
        progress(LAYER, 0)
        clock.now = 5.0
        progress(LAYER, 500, "")
        clock.now = 20.0
        progress(LAYER, 1500)

    assert [text.rpartition("\r")[2].removesuffix("\x1b[K\n") for text in clock.drawn[:3]] == [
        "abababababab [                        ]      0 B of   2.0 kB",
        "abababababab [======                  ]    500 B of   2.0 kB  100 B/s  0:15 left",
        "abababababab [========================]   2.0 kB of   2.0 kB  100 B/s",
    ]


def test_bars_fit_the_screen(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done comes before the bar, and what has no size has none."""
    for columns, shown in ((80, "abababababab [==         ]"), (40, "abababababab    500 B of")):
        monkeypatch.setattr(module, "_screen", lambda columns=columns: (columns, 24))
        clock.now, clock.drawn[:] = 0.0, []
        with Progress(terminal=True) as progress:
            progress(LAYER, 0, "unpacked")
            clock.now = 5.0
            progress(LAYER, 500, "unpacked")
            progress(Descriptor("", "/somewhere/else/rootfs.tar", 0), 3000)
        lines = clock.drawn[-1].replace("\x1b[K", "").split("\n")
        assert lines[0].rpartition("\r")[2].startswith(shown)
        assert lines[1] == "\rrootfs.tar   3.0 kB"
        assert all(len(line.rpartition("\r")[2]) < columns for line in lines)


def test_a_terminal_without_a_size_is_an_ordinary_one() -> None:
    ours, theirs = pty.openpty()
    saved = os.dup(2)
    os.dup2(theirs, 2)
    try:
        assert module._screen() == (80, 24)
    finally:
        os.dup2(saved, 2)
        for number in (saved, theirs, ours):
            os.close(number)


def test_a_pipe_has_lines_about_what_takes_long(clock: Clock) -> None:
    """Every ten seconds, and once more at its end; a blob that is faster is not mentioned."""
    with Progress(terminal=False) as progress:
        progress(Descriptor("", "sha256:" + "cd" * 32, 10), 10)
        progress(LAYER, 0)
        for second in range(1, 21):
            clock.now = float(second)
            progress(LAYER, 100)

    assert clock.drawn == [
        "abababababab: 1.0 kB of 2.0 kB (50 %), 100 B/s, 0:10 left\n",
        "abababababab: 2.0 kB of 2.0 kB (100 %), 100 B/s\n",
    ]


@pytest.mark.parametrize(("seconds", "drawn"), [(0.9, 0), (1.5, 2)])
def test_a_root_that_is_copied_soon_is_not_shown(
    clock: Clock, seconds: float, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most are, and who runs a container wants to see its output alone."""
    monkeypatch.setattr(os, "isatty", lambda _fd: True)
    with module.copying("web", quiet=False) as report:
        clock.now = seconds
        report(500, 2000)

    assert len(clock.drawn) == drawn
    assert all("root of web [======  " in line and line.endswith("copied\x1b[K\n") for line in clock.drawn)


def test_who_is_quiet_says_nothing(clock: Clock) -> None:
    for terminal in (True, False):
        with Progress(terminal, quiet=True) as progress:
            progress(LAYER, 0)
            clock.now += 100.0
            progress(LAYER, 2000)

    assert clock.drawn == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (360_000, ""), (1e300, "")],
)
def test_times(seconds: float, text: str) -> None:
    assert show_time(seconds) == text


def test_a_terminal_that_goes_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_fd: int, _data: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", gone)
    with Progress(terminal=True) as progress:
        progress(LAYER, 1)
        progress(LAYER, 1)

    assert not progress.show


def test_the_line_of_a_layer_begins_anew_when_it_is_unpacked(clock: Clock) -> None:
    with Progress(terminal=True) as progress:
        progress(LAYER, 2000)
        for second in (1, 2):
            clock.now = float(second)
            progress.unpacked(LAYER, 1000)

    assert [text.split("]")[1].removesuffix("\x1b[K\n").split() for text in clock.drawn[:3]] == [
        ["2.0", "kB", "of", "2.0", "kB"],
        ["1.0", "kB", "of", "2.0", "kB", "unpacked"],
        ["2.0", "kB", "of", "2.0", "kB", "2.0", "kB/s", "unpacked"],
    ]
