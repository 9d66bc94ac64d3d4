"""How much of the FreeBSD room the recorded answers and the fake libc exercise, counted line by line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import FREEBSD, TOP

LEAST = 95.0  # per cent of the room's lines
WHOLE = ("host.py",)  # of these every line
SETTINGS = """
[run]
include =
    runjail/host/freebsd/*.py
parallel = true
patch =
    _exit
    fork
data_file = {directory}/data
"""


@pytest.mark.slow
@pytest.mark.limit(1000)
@pytest.mark.skipif(FREEBSD, reason="the room is run for real here")
def test_the_freebsd_room_is_exercised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tests beside this one, in processes of their own: many of the lines are those of forked children."""
    pytest.importorskip("coverage", reason="coverage is not installed")
    settings = tmp_path / "settings"
    settings.write_text(SETTINGS.format(directory=tmp_path), encoding="utf-8")
    others = [
        str(path)
        for path in sorted(Path(__file__).parent.glob("test_freebsd_*.py"))
        if path.name != Path(__file__).name
    ]

    def coverage(*words: str) -> str:
        verb, *rest = words
        command = [sys.executable, "-m", "coverage", verb, f"--rcfile={settings}", *rest]
        env = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
        done = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    coverage("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *others)
    coverage("combine", "-q")
    report = coverage("report", "--show-missing", "--precision=1")
    with capsys.disabled():
        print(f"\n{report}", end="")
    share = {line.split()[0].rpartition("/")[2]: line for line in report.splitlines() if "%" in line}
    assert float(share["TOTAL"].split()[3].rstrip("%")) >= LEAST
    for name in WHOLE:
        assert share[name].split()[2] == "0", share[name]
