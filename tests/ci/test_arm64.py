"""The program under an arm64 Python, emulated by qemu-user: it loads, knows its machine, and reaches the kernel.

The emulation knows only some of the system calls that a container takes, so none is run.
tests/host/linux/test_linux_numbers.py compares the numbers of all with the kernel's headers.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.program import TOP

pytestmark = [
    pytest.mark.slow,
    pytest.mark.limit(600),
    pytest.mark.needs("linux", "root", "mmdebstrap", "qemu-aarch64-static"),
]

PACKAGES = "python3.11-minimal,libpython3.11-stdlib"
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from runjail.cli.main import run; sys.exit(run(sys.argv[1:]))"
MACHINE = """
import sys
sys.path.insert(0, sys.argv[1])
from runjail.host.linux import libc, seccomp
from runjail.image import platform
libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
print(libc.MACHINE, libc.SYS_CLONE, hex(seccomp._ARCHITECTURES[libc.MACHINE]), platform.describe(platform.host()))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with Debian's arm64 Python, unpacked and not run."""
    place = tmp_path_factory.mktemp("arm64") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", f"--include={PACKAGES}"]
    done = subprocess.run([*command, "bookworm", place], capture_output=True, text=True, timeout=500, check=False)
    if done.returncode:
        pytest.skip(f"needs Debian's packages for arm64: {done.stderr.strip().splitlines()[-1]}")
    return place


def python(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the arm64 Python."""
    command = ["qemu-aarch64-static", "-L", str(root), str(root / "usr/bin/python3.11"), "-IS", "-c", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def test_the_machine_is_known(root: Path) -> None:
    """Its numbers, its name in seccomp's and in images' words."""
    done = python(root, MACHINE, str(TOP))

    assert done.stdout.split() == ["aarch64", "220", "0xc00000b7", "linux/arm64"], done.stderr


def test_the_program_runs(root: Path, tmp_path: Path) -> None:
    def runjail(*words: str) -> "subprocess.CompletedProcess[str]":
        return python(root, PROGRAM, str(TOP), "--root", str(tmp_path / "state"), *words)

    assert runjail("--version").stdout.startswith("runjail version ")
    assert json.loads(runjail("features").stdout)["ociVersionMax"]
    assert runjail("state", "none").stderr == "runjail: container does not exist: none\n"
    rows = {row["what"]: row["works"] for row in json.loads(runjail("check", "--format", "json").stdout)}
    assert rows["root"] is True
    assert "namespaces" in rows and "device rules" in rows


def test_the_emulator_is_no_other_machine(root: Path) -> None:
    """The control: it is not this Python that ran."""
    assert "aarch64" in python(root, "import sys; print(sys.implementation._multiarch)").stdout
