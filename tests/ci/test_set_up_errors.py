"""What keeps set-up from going on is one line each: what is missing, and what brings it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import TOP

FAKE = "#!/bin/sh\necho 'is 3.10'\nexit 1\n"
LESS = "import importlib.util; importlib.util.find_spec = lambda name: name not in ('tomllib', 'venv')"
MINIMAL = f"""#!/bin/sh
exec "{sys.executable}" -ISc "{LESS}
$2"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout that has only what setting up takes."""
    place = tmp_path / "checkout"
    shutil.copytree(TOP / ".ci", place / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(TOP / name, place)
    return place


def make(checkout: Path, goal: str, before: str = "", **more: str) -> list[str]:
    """Return what a target that fails says, without make's own line. before: shell words in a mount namespace."""
    env = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"} | {
        "PYTHON": sys.executable,
        **more,
    }
    namespace = ["unshare", "-m"] if before else []
    command = [*namespace, "sh", "-c", f"{before}make {goal}"]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def test_no_python_that_is_new_enough(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text(FAKE, encoding="utf-8")
    old.chmod(0o755)

    (line,) = make(checkout, "venv", PYTHON=str(old))

    assert line.startswith(f"no Python 3.11 or newer with its standard library found at {old} ({old} is 3.10): install")
    assert "PYTHON" in line


def test_a_python_without_all_of_its_library(checkout: Path, tmp_path: Path) -> None:
    """As Debian's python3-minimal: venv and half of the rest are packages of their own."""
    minimal = tmp_path / "python3"
    minimal.write_text(MINIMAL, encoding="utf-8")
    minimal.chmod(0o755)

    (line,) = make(checkout, "venv", PYTHON=str(minimal))

    assert (
        f"({minimal} lacks tomllib; lacks venv): install one (Debian 12: apt-get install python3 python3-venv" in line
    )


@pytest.mark.needs("linux", "containers")
def test_a_checkout_that_cannot_be_written_to(checkout: Path) -> None:
    (line,) = make(checkout, "venv", "mount --bind . . && mount -o remount,bind,ro . && cd $PWD && ")

    reason = "Read-only file system: make a copy of the checkout where it can be written to"
    assert line == f"set-up: cannot write {checkout}/.venv: {reason}"


@pytest.mark.needs("linux", "containers")
def test_a_full_disk(checkout: Path, tmp_path: Path) -> None:
    """What is there then is taken up when there is room."""
    files = sum(1 for _ in checkout.rglob("*")) + 1
    (tmp_path / "full").mkdir()
    before = f"mount -t tmpfs -o nr_inodes={files} none ../full && cp -R . ../full && cd ../full && "

    (line,) = make(checkout, "venv", before)

    assert line == f"set-up: cannot write {tmp_path}/full/.venv: No space left on device: make some room there"


@pytest.mark.needs("linux", "containers")
def test_a_disk_that_venv_fills(checkout: Path, tmp_path: Path) -> None:
    """The module venv says something else each time; that the disk is full is told by looking."""
    (tmp_path / "full").mkdir()
    before = "mount -t tmpfs -o size=1m none ../full && cp -R . ../full && cd ../full && "

    (line,) = make(checkout, "venv", before)

    assert line == f"set-up: cannot write {tmp_path}/full/.venv: No space left on device: make some room there"


@pytest.mark.needs("no root")
def test_somebody_elses_checkout(checkout: Path) -> None:
    checkout.chmod(0o555)

    (line,) = make(checkout, "venv")

    reason = "Permission denied: make a copy of the checkout that is your own: git clone"
    assert line == f"set-up: cannot write {checkout}/.venv: {reason}"


@pytest.mark.needs("linux", "containers")
def test_no_pytest(checkout: Path) -> None:
    """The line is the last one: nothing is tried that would end in a traceback. That there is no home does no harm."""
    shutil.copytree(TOP / "runjail", checkout / "runjail")
    # As pip left it
    commands = f'"{sys.executable}" -m venv --without-pip .venv && touch .venv/without-network'
    subprocess.run(commands, shell=True, cwd=checkout, check=True)

    (line,) = make(checkout, "test-fast", "unshare -n ", HOME=str(checkout / "nowhere"))

    assert line.startswith(
        "set-up: there is no pytest, and pip could not install it: connect this machine to a network"
    )
    assert "Debian: apt-get install python3-pytest" in line


@pytest.mark.parametrize("goal", ["test", "test-fast", "lint"])
def test_what_runs_pytest_asks_for_it_first(goal: str) -> None:
    said = subprocess.run(["make", "-n", goal], cwd=TOP, capture_output=True, text=True, check=True).stdout
    (asked,) = [number for number, line in enumerate(said.splitlines()) if line.endswith("make_venv.py pytest")]
    (run,) = [number for number, line in enumerate(said.splitlines()) if "-m pytest" in line]

    assert asked < run
