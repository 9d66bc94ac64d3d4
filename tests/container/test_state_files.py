"""Files that are replaced whole: nobody sees half of one, and what a killed writer leaves goes with the container."""

import os
from pathlib import Path
from typing import Any, cast

import pytest

from runjail.container import delete
from runjail.container.container import Runtime
from runjail.container.create import Request, create
from runjail.container.pid_file import write_pid
from runjail.errors import HostError, InvalidConfig
from runjail.files import write_file
from tests.support.container.fake_host import FakeHost, made


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure leaves the old one, and nothing beside it; what a killed writer left is replaced, no link followed."""
    path, beside = tmp_path / "file", str(tmp_path / "beside")
    write_file(str(path), b"old", 0o600, beside)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError):
        write_file(str(path), b"new", 0o600, beside)
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1]))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_file(str(path), b"piece by piece", 0o600, beside)
    assert path.read_bytes() == b"piece by piece"
    Path(beside).symlink_to(path)
    write_file(str(tmp_path / "target"), b"x", 0o600, beside)
    assert path.read_bytes() == b"piece by piece"
    assert (tmp_path / "target").read_bytes() == b"x"
    assert not os.path.lexists(beside)


def test_a_pid_file_error_names_the_callers_path(runtime: Runtime, tmp_path: Path) -> None:
    container = made(runtime)
    with pytest.raises(HostError, match=f"^writing pid file {tmp_path}/none/pid: does not exist$"):
        write_pid(container, str(tmp_path / "none" / "pid"), 5)
    assert os.listdir(container.path) == ["state.json"]


@pytest.mark.parametrize("locked", [True, False])
def test_a_half_written_pid_file_goes_with_the_container(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """Whoever is killed before the rename leaves a file that `delete` finds, or the next writer of the same pid."""
    container = made(runtime)
    if not locked:  # as exec
        container.unlock()
        container = runtime.find("c")
    target = tmp_path / "there" / "pid"
    target.parent.mkdir()

    def killed(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    def die() -> None:
        real = os.unlink
        monkeypatch.setattr(os, "rename", killed)
        monkeypatch.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            write_pid(container.directory(), str(target), 5)
        monkeypatch.undo()
        assert os.unlink is real

    die()
    assert os.listdir(target.parent) == [f"pid.{os.getpid()}"]
    write_pid(container.directory(), str(target), 7)
    assert (os.listdir(target.parent), target.read_text()) == (["pid"], "7")
    die()
    target.unlink()
    container.unlock()
    delete.delete("c", True, runtime)

    assert os.listdir(target.parent) == []


def test_an_empty_document_is_not_read_again(tmp_path: Path) -> None:
    """A caller that has read `{}` hears what it lacks, not that the file is gone meanwhile."""
    request = Request("c", str(tmp_path / "absent"))

    with pytest.raises(InvalidConfig, match="ociVersion"):
        create(request, Runtime(cast(Any, FakeHost()), str(tmp_path)), document={})
