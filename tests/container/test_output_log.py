"""The form in which output is kept, and how it is read while it is written."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from runjail import signals
from runjail.cli.verbs.logs import point_in_time
from runjail.container import logs, monitor
from runjail.container.container import Runtime
from runjail.container.create import Request
from runjail.container.output_log import LEAST, OLDER, OutputLog, Reader, entries, stamp
from runjail.container.stats import _duration
from runjail.errors import UsageError
from tests.support.container.fake_host import FakeHost, made


def texts(reader: Reader) -> list[bytes]:
    return [text for _time, _stream, _ends, text in reader.more()]


def test_lines_and_pieces_of_lines(tmp_path: Path) -> None:
    log = OutputLog(str(tmp_path / "log"), 1 << 20)
    for stream, block in (("stdout", b"one\n\nthree\nbeg"), ("stderr", b"oops\n"), ("stdout", b"un\n")):
        log.write(stream, block)

    lines = (tmp_path / "log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 std(out|err) [FP] ", line) for line in lines)
    assert [line.split(" ", 1)[1] for line in lines] == [
        *("stdout F one", "stdout F ", "stdout F three", "stdout P beg", "stderr F oops", "stdout F un"),
    ]


def test_what_is_no_line_is_passed_over() -> None:
    data = b"\n2026 stdout F a  b \nnonsense\n2026 stdout X a\n2026 stdin F a\n2026 stderr P \n2026 std"

    assert list(entries(data)) == [("2026", "stdout", True, b"a  b "), ("2026", "stderr", False, b"")]


def test_two_files_hold_no_more_than_was_asked_for(tmp_path: Path) -> None:
    """And at least half of that is always there."""
    path, most = tmp_path / "log", 8 * LEAST
    log, reader = OutputLog(str(path), most), Reader(str(path))
    followed = []
    for number in range(2000):
        log.write("stdout", b"line %d\n" % number)
        if number % 50 == 0:
            followed += texts(reader)
    followed += texts(reader)

    files = [path, Path(f"{path}{OLDER}")]
    assert all(file.stat().st_size <= most // 2 for file in files)
    assert followed == [b"line %d" % number for number in range(2000)], "who follows misses nothing"
    last = texts(Reader(str(path)))
    assert last == [b"line %d" % number for number in range(2000 - len(last), 2000)]
    assert sum(file.stat().st_size for file in files) > most // 2


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """Another monitor opens the file that its predecessor left, in the middle of a line at that."""
    path = tmp_path / "log"
    OutputLog(str(path), 1 << 20).write("stdout", b"a\n")
    reader = Reader(str(path))
    assert texts(reader) == [b"a"]
    with open(path, "ab") as file:
        file.write(b"2026-11-30T12:00:00.000000000+00:00 std")
    assert texts(reader) == []
    OutputLog(str(path), 1 << 20).write("stdout", b"b\n")

    assert texts(reader) == [], "the line that was cut off took the beginning of the next one with it"
    OutputLog(str(path), 1 << 20).write("stdout", b"c\n")
    assert texts(reader) == [b"c"]


def test_a_full_disk_keeps_nobody_waiting(tmp_path: Path) -> None:
    log = OutputLog(str(tmp_path / "log"), 1 << 20)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with open(full, "wb", buffering=0) as file:
        log._file = file.fileno()
        log.write("stdout", b"lost\n")


LINES = [("1", "stdout", True, b"a"), ("2", "stdout", False, b"b"), ("3", "stderr", True, b"e")]
LINES += [("4", "stdout", False, b"bb"), ("5", "stdout", True, b"bbb"), ("6", "stderr", False, b"f")]


@pytest.mark.parametrize(
    ("count", "kept"), [(0, ""), (1, "6"), (2, "2456"), (3, "23456"), (4, "123456"), (99, "123456")]
)
def test_the_last_lines_are_whole(count: int, kept: str) -> None:
    assert "".join(time for time, *_rest in logs._last(LINES, count)) == kept


def test_points_in_time() -> None:
    assert point_in_time("", "--since") == ""
    assert point_in_time("2026-11-30T13:00:00.5+01:00", "--since") == "2026-11-30T12:00:00.500000000+00:00"
    assert point_in_time("0", "--since") == stamp(0) == "1970-01-01T00:00:00.000000000+00:00"
    assert point_in_time("1h", "--since") < point_in_time("1m", "--since")
    with pytest.raises(UsageError, match="--until: not a time: 'x'"):
        point_in_time("x", "--until")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0ms"),
        (64_016_500, "64.0165ms"),
        (2_500_000_000, "2.5s"),
        (61_000_000_000, "1m1s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_durations_are_go_s(nanoseconds: int, text: str) -> None:
    assert _duration(nanoseconds) == text


def fail(_id: str, _streams: Mapping[str, int]) -> None:
    raise UsageError("no such verb")


def test_a_next_monitor_that_cannot_begin_is_not_its_caller(runtime: Runtime, host: FakeHost) -> None:
    """It ends there and then: the caller's way back, and the lock on the container, are the caller's alone."""
    container, caller = made(runtime), os.getpid()
    container.host_state.pid, container.host_state.started = 1234, "then"
    host.alive[1234] = "then"
    container.save()
    container.write(monitor.MONITOR, b'{"pid": 4321, "started": "gone", "log": "/log", "most": 4096}')
    os.mkfifo(f"{container.path}/stdout")
    container.unlock()

    try:
        assert monitor.take_over(container, fail)
    finally:
        if os.getpid() != caller:
            os._exit(99)

    pid = monitor.monitored(container)["pid"]
    assert isinstance(pid, int)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_monitor_that_ends_early_is_not_its_caller(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container runs, and `run` has said so: its bundle is not taken back by who was interrupted later."""
    container, caller, pids = made(runtime), os.getpid(), list[int]()
    options = monitor.MonitorOptions("", 0)
    container.unlock()

    def fork() -> int:
        pids.append(os.fork())
        return pids[-1]

    monkeypatch.setattr(signals, "fork", fork)
    monkeypatch.setattr(monitor, "_make", lambda *_args: (container, {}))

    try:
        assert monitor.run_detached(Request("c", "/b"), {}, runtime, options, False, fail) == 0
    finally:
        if os.getpid() != caller:
            os._exit(99)

    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0
