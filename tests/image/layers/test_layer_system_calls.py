"""How many system calls an entry of a layer takes: a budget, by strace(1)."""

from pathlib import Path

import pytest

from tests.support.image.tars import archive, digest, directory, member
from tests.support.system_calls import a_file

pytestmark = [pytest.mark.linux, pytest.mark.needs("root", "strace")]

IN_ONE = 200  # files of a directory
PROGRAM = """
import os, sys
sys.path.insert(0, ".")
from runjail.image.layers import layer
os.umask(0o22)
blob, target, diff_id = sys.argv[1:]
layer.unpack(os.open(blob, os.O_RDONLY), target, diff_id)
"""
ALWAYS = {"openat": 1, "pwrite64": 1, "stat": 1, "utimensat": 1, "close": 1}


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({}, {}),
        ({"mode": 0o600}, {}),
        ({"mode": 0o4755}, {"fchmod": 1}),
        ({"mode": 0o666}, {"fchmod": 1}),  # the umask takes something away
        ({"uid": 1000}, {"fchown": 1, "fchmod": 1}),
    ],
    ids=str,
)
def test_a_file_takes_few_system_calls(fields: dict[str, int], more: dict[str, int], tmp_path: Path) -> None:
    """tar(1) takes as many, or two more: it changes owner and mode of each."""

    def made(count: int) -> list[str]:
        names = [b"%d/%d" % (number // IN_ONE, number) for number in range(count)]
        files = [member(name, b"content", **fields) for name in names]
        content = archive(*(directory(b"%d" % number) for number in range(count // IN_ONE)), *files)
        (tmp_path / f"blob{count}").write_bytes(content)
        (tmp_path / f"target{count}").mkdir()
        return [str(tmp_path / f"blob{count}"), str(tmp_path / f"target{count}"), digest(content)]

    assert a_file(PROGRAM, made, tmp_path / "calls") == ALWAYS | more
