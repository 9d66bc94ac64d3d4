"""Tests in several workers: who runs what, what is said once, and that a worker which dies stops nobody."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import side_by_side
from tests.support.fake_item import FakeItem
from tests.support.nri.plugins import gone
from tests.support.program import TOP

WELL = 12  # files
CRASHING = """
import os, signal, subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

@pytest.mark.needs("no-such-program")
def test_of_something_that_is_not_here(): pass

def test_that_ends_its_worker(leftovers, machine_rootfs):
    mark = {leftovers.MARK: leftovers.base}
    process = subprocess.Popen([machine_rootfs / "bin" / "sleep", "600"], env=mark, start_new_session=True)
    Path("PLACE", "left").write_text(str(process.pid))
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Item(FakeItem):
    def __init__(self, nodeid: str, *marks: pytest.MarkDecorator) -> None:
        super().__init__(*marks)
        self.nodeid = nodeid


def test_groups_come_first_and_hold_what_shares_a_need() -> None:
    """Files with slow tests come next; otherwise the order stays, which is that of files."""
    mark = pytest.mark
    items: list[Any] = [
        Item("a.py::one"),
        Item("a.py::two", mark.peers("podman", "conmon")),
        Item("b.py::three"),
        Item("b.py::four", mark.needs("docker-registry", "zfs")),
        Item("c.py::five", mark.peers("buildah")),
        Item("c.py::six", mark.slow),
        Item("c.py::seven"),
    ]

    groups = side_by_side.arrange(items)

    assert groups == {"a.py::two": "podman", "b.py::four": "zfs", "c.py::five": "podman"}
    assert [item.nodeid[-4:] for item in items] == ["four", ":two", "five", ":six", "even", ":one", "hree"]


def test_as_many_workers_as_processors_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none where xdist is missing."""
    monkeypatch.setattr(side_by_side, "find_spec", lambda name: name == "xdist")
    for processors, workers in ((1, "3"), (2, "4"), (64, "4"), (None, "3")):
        monkeypatch.setattr(os, "cpu_count", lambda found=processors: found)
        assert side_by_side.options() == ["-n", workers]
    monkeypatch.setattr(side_by_side, "find_spec", lambda _name: None)
    assert side_by_side.options() == []


def test_a_path_that_is_not_there_is_no_error_of_ours(tmp_path: Path) -> None:
    """No worker has looked at tests then, and there is no table to show."""
    lines: list[str] = []
    reporter = SimpleNamespace(write_line=lines.append)
    controller = object.__new__(side_by_side.Controller)
    controller.config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda _name: reporter))
    controller.told, controller.printed = tmp_path / "told", False

    controller.pytest_xdist_node_collection_finished()
    (tmp_path / "told").write_text('{"table": ["what is missing"], "groups": {}}', encoding="utf-8")
    controller.pytest_xdist_node_collection_finished()
    controller.pytest_xdist_node_collection_finished()

    assert lines == ["\nwhat is missing"]


@pytest.mark.needs("linux", "busybox", "module xdist")
def test_a_worker_that_dies_stops_nobody(tmp_path: Path) -> None:
    """Another goes on with the tests of its file; what it left is removed; what is not tested is said once.

    It has done some files by then, and there are more.
    """
    (tmp_path / "test_crashing.py").write_text(CRASHING.replace("PLACE", str(tmp_path)))
    for number in range(WELL):
        name = f"test_before{number}" if number % 2 else f"test_later{number}"
        (tmp_path / f"{name}.py").write_text("def test_well(): pass\n")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", "-c", "pyproject.toml"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}

    done = subprocess.run(
        [*command, "-n", "2", str(tmp_path)],
        cwd=TOP,
        env=env | {"TMPDIR": f"{tmp_path}/tmp"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.stdout.count("not tested here") == 1, done
    assert "1 tests: the program no-such-program" in done.stdout
    assert "crashed while running" in done.stdout and f"1 failed, {WELL} passed, 1 skipped" in done.stdout, done
    pid = (tmp_path / "left").read_text()
    assert f"process {pid}: {tmp_path}/tmp/" in done.stderr and gone(int(pid))
