"""How many system calls a file and a directory take when a root is copied, and removed: a budget, by strace(1)."""

import os
from pathlib import Path

import pytest

from tests.support.system_calls import a_file

pytestmark = [pytest.mark.linux, pytest.mark.needs("root", "strace")]

PROGRAM = """
import os, sys
sys.path.insert(0, ".")
from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree
os.umask(0o22)
copy_tree.Copier(*(os.open(path, DIRECTORY) for path in sys.argv[1:]), 1).copy()
"""
FILE = {"stat": 2, "openat": 2, "copy_file_range": 1, "flistxattr": 1, "utimensat": 1, "close": 2}
IN_ONE = 200  # files of a directory


@pytest.mark.parametrize(
    ("mode", "owner", "more"), [(0o644, 0, {}), (0o4755, 0, {"fchmod": 1}), (0o644, 1000, {"fchown": 1, "fchmod": 1})]
)
def test_a_file_takes_few_system_calls(mode: int, owner: int, more: dict[str, int], tmp_path: Path) -> None:
    """cp -a takes seventeen on the same files."""

    def made(count: int) -> list[str]:
        for number in range(count):
            path = tmp_path / f"source{count}" / f"{number // IN_ONE}" / f"{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content")
            path.chmod(mode)
            if owner:
                os.chown(path, owner, owner)
                path.chmod(mode)
        return _ends(tmp_path, count)

    found = a_file(PROGRAM, made, tmp_path / "calls")
    if "pread64" in found:  # this file system refuses copy_file_range, or Python has no such call
        found["copy_file_range"] = 1
        assert found.pop("pread64") == found.pop("pwrite64") == 1

    assert found == FILE | more


def test_a_directory_takes_few_system_calls_however_deep_it_is(tmp_path: Path) -> None:
    """Each was opened from the top four times, at two calls for each component of its path."""

    def made(count: int) -> list[str]:
        for number in range(count // 10):
            for last in range(10):
                (tmp_path / f"source{count}/a/b/c/d/e/f/{number}/{last}").mkdir(parents=True)
        return _ends(tmp_path, count)

    found = a_file(PROGRAM, made, tmp_path / "calls")

    assert sum(found.values()) < 25


def test_a_file_takes_one_system_call_to_remove(tmp_path: Path) -> None:
    """What is a directory, the directory that it is in says."""

    def made(count: int) -> list[str]:
        (tmp_path / f"trash{count}/item").mkdir(parents=True)
        for number in range(count):
            (tmp_path / f"trash{count}/item/{number}").touch()
        return [str(tmp_path / f"trash{count}")]

    program = "import sys; from runjail.storage import remove_tree; remove_tree.remove(sys.argv[1], 'item', 1)"

    assert a_file(program, made, tmp_path / "calls") == {"unlinkat": 1}


def _ends(place: Path, count: int) -> list[str]:
    (place / f"target{count}").mkdir()
    return [str(place / f"source{count}"), str(place / f"target{count}")]
