"""The check that tests leave nothing must see what they leave."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.container.harness import until
from tests.support.leftovers import Leftovers
from tests.support.machine_root import make_root


@pytest.mark.needs("linux")
def test_marked_process_is_found_and_swept(tmp_path: Path) -> None:
    """A process that carries the mark is named, a stranger is not, and sweeping ends it."""
    ours = Leftovers(str(tmp_path))
    stranger = subprocess.Popen(["sleep", "60"])
    marked = subprocess.Popen(["sleep", "60"], env={ours.MARK: ours.base})
    try:
        until(ours.find)  # the kernel shows an environment a moment after execve(2)

        assert [f"process {marked.pid}: sleep 60 "] == ours.find()

        ours.sweep()

        assert marked.wait(120) == -9
        assert stranger.poll() is None
    finally:
        for process in (stranger, marked):
            process.kill()
            process.wait()


@pytest.mark.linux
def test_mount_is_found_and_swept(tmp_path: Path) -> None:
    """A mount below the base is named and unmounted, also with a blank in its path."""
    point = tmp_path / "a place"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], check=True)
    ours = Leftovers(str(tmp_path))

    assert ours.find() == [f"mount {point}"]

    ours.sweep()

    assert ours.find() == []


def test_only_an_abandoned_directory_is_swept(tmp_path: Path) -> None:
    """A session that lives keeps what it has; so does a directory that nobody claimed."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name, owner in (("alive", str(os.getpid())), ("dead", str(gone.pid)), ("strange", "?"), ("unclaimed", None)):
        (tmp_path / name).mkdir()
        if owner is not None:
            (tmp_path / name / Leftovers.OWNER).write_text(owner)

    abandoned = [entry.name for entry in tmp_path.iterdir() if Leftovers(str(entry)).abandoned()]

    assert abandoned == ["dead"]


@pytest.mark.needs("busybox")
def test_machine_root_runs_a_shell(tmp_path: Path) -> None:
    """The root file system has the programs that the demo and the tests use."""
    make_root(str(tmp_path / "root"))

    for program in ("sh", "ls", "cat", "echo", "id", "kill", "ps", "sleep", "hostname"):
        assert os.path.exists(tmp_path / "root" / "bin" / program), program
