"""Reading files that callers name: whole, bounded, and one clear error for everything that is none."""

import os
import socket
import threading
from pathlib import Path

import pytest

from runjail import files
from runjail.errors import UnreadableFile
from tests.support.leaks import Held

MOST = 100000


def why(path: "str | Path", most: int = MOST) -> str:
    """Return what is wrong with a file; the whole error names it, in words that decide nobody's exit code."""
    with pytest.raises(UnreadableFile) as caught:
        files.read(str(path), most)
    text = str(caught.value)
    assert text.endswith(" " + caught.value.why)
    for word in ("no such file", "not found", "permission denied", "not permitted", "is a directory"):
        assert word not in text.lower()
    return caught.value.why


@pytest.mark.parametrize("size", [0, 1, MOST - 1, MOST])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    (tmp_path / "link").symlink_to("file")

    assert files.read(str(tmp_path / "file"), MOST) == files.read(str(tmp_path / "link"), MOST) == b"x" * size


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs nothing."""
    with open(tmp_path / "file", "wb") as file:
        file.truncate(1 << 40)

    assert why(tmp_path / "file") == f"is larger than {MOST} bytes"


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size was good; what comes after the limit is noticed, and reading ends there."""
    (tmp_path / "file").write_bytes(b"x" * MOST)
    plain, read = os.pread, []

    def grow(descriptor: int, size: int, offset: int) -> bytes:
        with open(tmp_path / "file", "ab") as file:
            file.write(b"x" * MOST)
        read.append(size)
        return plain(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", grow)

    assert why(tmp_path / "file") == f"is larger than {MOST} bytes"
    assert sum(read) == MOST + 1


def test_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert why(tmp_path / "none") == why(tmp_path / "none" / "x") == why(tmp_path / "file" / "x") == "is missing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_forbidden(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0)

    assert why(tmp_path / "file") == "may not be read"


def test_what_is_no_file(tmp_path: Path) -> None:
    """It is not even opened: a FIFO would wait for its writer, and some devices begin to do something."""
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "socket", "directory", "link"):
        assert why(tmp_path / name) == "is not a regular file"
    listener.close()
    assert why("/dev/zero") == why("/dev/tty") == "is not a regular file"
    assert files.read("/dev/null", MOST) == b""


def test_a_file_that_turns_into_a_fifo_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    plain = os.stat

    def swap(name: str) -> os.stat_result:
        found = plain(name)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(UnreadableFile, match="is not a regular file"):
        files.read(str(path), MOST)


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    assert why(tmp_path / "loop").startswith("cannot be read: ")


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "/tmp/\udfff\0"])
def test_a_name_that_is_none(path: str) -> None:
    with pytest.raises(UnreadableFile, match=r"^[ -~]+ is (no path|missing)$"):
        files.read(path, MOST)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_pipe_as_shells_name_it(name: str) -> None:
    """Larger than a pipe holds, so that it comes in pieces; the descriptor stays open and as it was."""
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(writing, b"x" * MOST), os.close(writing)))
    writer.start()

    assert files.read(name.format(reading), MOST) == b"x" * MOST
    writer.join()
    assert os.get_blocking(reading)
    os.close(reading)


def test_standard_input_and_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"[1]")
    theirs.close()
    kept = os.dup(0)
    try:
        os.dup2(ours.fileno(), 0)
        assert files.read("/dev/stdin", MOST) == b"[1]"
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        ours.close()


def test_a_file_by_descriptor_is_read_from_its_start(tmp_path: Path) -> None:
    """Twice, too: another offset than its owner's."""
    (tmp_path / "file").write_bytes(b"abc")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    os.read(descriptor, 1)
    name = f"/dev/fd/{descriptor}"

    assert files.read(name, MOST) == files.read(name, MOST) == b"abc"
    assert os.read(descriptor, 9) == b"bc"
    os.close(descriptor)


def test_an_endless_pipe_costs_no_more_than_may_be_read() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        try:
            while os.write(writing, b" " * 65536):
                pass
        except BrokenPipeError:
            os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    assert why(f"/dev/fd/{reading}") == f"is larger than {MOST} bytes"
    os.close(reading)
    thread.join()


@pytest.mark.parametrize("start", [b"", b"[1"])
def test_a_pipe_that_does_not_end(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer lives and says nothing more."""
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    reading, writing = os.pipe()
    os.write(writing, start)

    assert why(f"/dev/fd/{reading}") == "cannot be read: nothing came within 0.2 s"
    os.close(reading)
    os.close(writing)


def test_a_descriptor_that_is_not_open_or_no_file(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    zero = os.open("/dev/zero", os.O_RDONLY)

    assert why("/dev/fd/999999").startswith("cannot be read: ")
    assert why(f"/dev/fd/{directory}") == why(f"/dev/fd/{zero}") == "is not a regular file"
    os.close(directory)
    os.close(zero)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "good").touch()
    (tmp_path / "large").write_bytes(b"x" * 2)
    before = Held()
    files.read(str(tmp_path / "good"), 1)
    for name in ("fifo", "large", "missing", "."):
        why(tmp_path / name, 1)

    assert before.more() == []


def test_what_may_be_replaced(tmp_path: Path) -> None:
    """rename(2) would put a file where /dev/null was."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("none")
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "dangling", "none", "none/x"):
        files.require_replaceable(str(tmp_path / name))
    for path in ("/dev/null", f"{tmp_path}/null", f"{tmp_path}/fifo", str(tmp_path)):
        with pytest.raises(UnreadableFile, match=r"is not a regular file$"):
            files.require_replaceable(path)
