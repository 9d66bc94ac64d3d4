"""FIFOs, files and programs as standard input, output and error."""

import contextlib
import os
import select
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError, UsageError
from runjail.host import programs
from runjail.shim.stdio import Stdio, start_logger


@pytest.fixture
def fifos(tmp_path: Path) -> list[str]:
    """Three FIFOs, as containerd makes them."""
    paths = [str(tmp_path / name) for name in ("in", "out", "err")]
    for path in paths:
        os.mkfifo(path)
    return paths


def opened() -> int:
    """Return how many descriptors this process has, as far as they could be ours."""
    count = 0
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            count += 1
    return count


def test_nobody_waits_for_the_client(fifos: list[str]) -> None:
    """Opening does not block though nobody is at the other ends, and a write is no SIGPIPE."""
    before = opened()
    streams = Stdio(fifos[0], fifos[1], fifos[2], False)
    os.write(streams.container_fds[1], b"early")
    reader = os.open(fifos[1], os.O_RDONLY)
    streams.release()

    assert os.read(reader, 100) == b"early"
    os.close(reader)
    streams.close()
    assert opened() == before


def test_output_ends_with_the_program(fifos: list[str]) -> None:
    """Once the descriptors are passed on, only the program keeps the FIFO from its end."""
    streams = Stdio(fifos[0], fifos[1], fifos[2], False)
    reader = os.open(fifos[1], os.O_RDONLY)
    streams.release()

    assert os.read(reader, 100) == b""
    os.close(reader)
    streams.close()


def test_input_waits_for_close_io(fifos: list[str]) -> None:
    """A client that comes late is waited for; after close_input the end comes when the client has closed too."""
    streams = Stdio(fifos[0], fifos[1], fifos[2], False)
    stdin = os.dup(streams.container_fds[0])
    streams.release()
    poll = select.poll()
    poll.register(stdin, select.POLLIN)
    assert poll.poll(50) == []
    os.set_blocking(stdin, False)
    with pytest.raises(BlockingIOError):  # an end-of-file would be b""
        os.read(stdin, 100)
    os.set_blocking(stdin, True)
    writer = os.open(fifos[0], os.O_WRONLY)
    os.write(writer, b"typed")
    assert os.read(stdin, 100) == b"typed"
    streams.close_input()
    assert poll.poll(50) == []
    os.close(writer)

    assert os.read(stdin, 100) == b""
    os.close(stdin)
    streams.close()


def test_nothing_is_dev_null() -> None:
    streams = Stdio("", "", "", terminal=False)
    try:
        assert [os.fstat(each).st_rdev for each in streams.container_fds] == [os.stat("/dev/null").st_rdev] * 3
        assert os.get_blocking(streams.container_fds[0])
    finally:
        streams.close()


def test_files(tmp_path: Path) -> None:
    """Both outputs are appended to the same file."""
    path = tmp_path / "logs" / "web.log"
    for text in (b"one\n", b"two\n"):
        streams = Stdio("", f"file://{path}", f"file://{path}", terminal=False)
        os.write(streams.container_fds[1], text)
        os.write(streams.container_fds[2], text)
        streams.close()

    assert path.read_bytes() == b"one\none\ntwo\ntwo\n"


def test_what_cannot_be_opened_leaves_nothing_open(fifos: list[str], tmp_path: Path) -> None:
    before = opened()
    with pytest.raises(HostError, match=f"opening {tmp_path}/nope: does not exist"):
        Stdio(str(tmp_path / "nope"), fifos[1], fifos[2], terminal=False)
    with pytest.raises(UsageError, match="output to ftp:// is not supported"):
        Stdio(fifos[0], "ftp://x", "", terminal=False)

    assert opened() == before


def test_a_logging_program(tmp_path: Path) -> None:
    """It is ready before the container starts, gets its words decoded, and sees the end of the output."""
    program, log = tmp_path / "logger", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$WHO $*" >{log}\nexec 5>&-\ncat <&3 >>{log}\ncat <&4 >>{log}\n', "ascii")
    program.chmod(0o755)
    streams = Stdio("", f"binary://{program}?a=b%20c&d=", "ignored", terminal=False)
    assert streams.logger and streams.logger.words == (str(program), "a", "b c", "d")
    pid = start_logger(streams.logger, {"WHO": "web", "PATH": "/bin:/usr/bin"}, programs.start)
    assert log.read_text("ascii") == "web a b c d\n"
    os.write(streams.container_fds[1], b"out\n")
    os.write(streams.container_fds[2], b"err\n")
    streams.close()
    os.waitpid(pid, 0)

    assert log.read_text("ascii").splitlines() == ["web a b c d", "out", "err"]


def test_a_logging_program_that_is_missing(tmp_path: Path) -> None:
    streams = Stdio("", f"binary://{tmp_path}/nope", "", terminal=False)
    assert streams.logger
    before = opened()
    with pytest.raises(HostError, match=f"starting the logging program {tmp_path}/nope: does not exist"):
        start_logger(streams.logger, {}, programs.start)

    assert opened() == before
    streams.close()


def test_a_logging_program_that_never_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and the container is not created."""
    monkeypatch.setattr("runjail.shim.stdio.READY_SECONDS", 0.05)
    streams = Stdio("", "binary:///bin/sleep?600=", "", terminal=False)
    assert streams.logger
    pids: list[int] = []

    def start(*args: Any) -> int:
        pids.append(programs.start(*args))
        return pids[0]

    with pytest.raises(HostError, match="is not ready after"):
        start_logger(streams.logger, {}, start)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == -9
    streams.close()
