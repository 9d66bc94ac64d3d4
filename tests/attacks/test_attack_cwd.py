"""A working directory that leads out of the container: `/proc/self/fd/N`, where N is a directory of the host's.

A descriptor is handed over on purpose here (--preserve-fds), as one that is forgotten would be. The attacker's program
then needs no descriptor at all: its working directory is on the host, and so is what it names with `..`.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.container import program
from runjail.errors import HostError
from runjail.spec.model import Process
from tests.support.container.harness import Life, exec_document
from tests.support.program import Result

pytestmark = pytest.mark.linux
SCRIPT = "pwd; ls; cat secret ../host/secret; echo stolen >taken; echo ran >/tmp/ran"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host's, with something to read in it."""
    directory = tmp_path / "host"
    (directory / "below").mkdir(parents=True)
    (directory / "secret").write_text("the host's\n")
    return directory


def handing_over(directory: Path) -> Callable[[], None]:
    """Return a function for the child that opens a directory as descriptor 3."""

    def open_it() -> None:
        os.closerange(3, 64)
        os.set_inheritable(os.open(directory, os.O_RDONLY), True)

    return open_it


def run(life: Life, host: Path, cwd: str, **process: object) -> Result:
    bundle = life.bundle.write("/bin/sh", "-c", SCRIPT, cwd=cwd, **process)
    options = ("--preserve-fds", "1")
    return life.runjail("run", *options, "-b", bundle, "c", preexec_fn=handing_over(host), close_fds=False)


FD = "/proc/self/fd/3"
ESCAPES = [FD, f"{FD}/below", f"{FD}/..", "/proc/1/fd/3", "/proc/thread-self/fd/3", "/link"]


@pytest.mark.parametrize("user", [0, 42])
@pytest.mark.parametrize("cwd", ESCAPES)
def test_run(life: Life, host: Path, cwd: str, user: int) -> None:
    (life.bundle.rootfs / "link").symlink_to(FD)
    result = run(life, host, cwd, user={"uid": user, "gid": user})

    assert "the host's" not in result.stdout
    assert not (host / "taken").exists()
    assert result.returncode == 1
    assert f'chdir to cwd ("{cwd}") set in config.json failed: it is outside of the container' in result.stderr
    life.gone()
    assert not (life.bundle.rootfs / "tmp/ran").exists()


def test_run_inside(life: Life, host: Path) -> None:
    """The positive control: the same script with the same descriptor runs, and finds nothing of the host's."""
    result = run(life, host, "/tmp")

    assert (life.bundle.rootfs / "tmp/ran").read_text() == "ran\n"
    assert result.stdout.startswith("/tmp\n")
    assert (life.bundle.rootfs / "tmp/taken").read_text() == "stolen\n"
    assert not (host / "taken").exists()


@pytest.mark.parametrize("way", ["--cwd", "document"])
def test_exec(life: Life, host: Path, way: str) -> None:
    """The container's own processes are not the only ones that have a working directory."""
    life.start("/bin/sleep", "600")
    words = ("exec", "--preserve-fds", "1")
    if way == "--cwd":
        words = (*words, "--cwd", FD, "c", "/bin/sh", "-c", SCRIPT)
    else:
        document = life.path / "process.json"
        document.write_text(json.dumps({"args": ["/bin/sh", "-c", SCRIPT], "cwd": FD}))
        words = (*words, "-p", str(document), "c")
    result = life.runjail(*words, preexec_fn=handing_over(host), close_fds=False)

    assert "the host's" not in result.stdout
    assert not (host / "taken").exists()
    assert "set in config.json failed" in result.stderr  # whoever enters has no /proc/self yet when it goes there
    assert exec_document(life, SCRIPT, cwd="/tmp").returncode == 0
    assert (life.bundle.rootfs / "tmp/ran").exists()


@pytest.mark.parametrize("number", [3, 5, 7, 9, 11, 13, 15])
def test_descriptors_of_our_own(life: Life, number: int) -> None:
    """Nothing that we have open ourselves when the program starts leads out; the caller has leaked some as well."""

    def leak() -> None:
        for leaked in range(10, 20):
            os.dup2(0, leaked)
            os.close(leaked)
        os.dup2(os.open("/", os.O_RDONLY), 15)

    bundle = life.bundle.write("/bin/sh", "-c", SCRIPT, cwd=f"/proc/self/fd/{number}")
    result = life.runjail("run", "-b", bundle, "c", preexec_fn=leak, close_fds=False)

    assert result.returncode == 1
    assert "set in config.json failed" in result.stderr


def test_a_path_that_means_something_else_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """FreeBSD's kernel says the host's path of such a directory; the container may have one of that name."""
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path))
    became: list[str] = []
    before = os.open(".", os.O_RDONLY)
    try:
        with pytest.raises(HostError, match="it is outside of the container"):
            program.take_on(Process(("x",), cwd="/"), lambda _process: became.append("x"))
    finally:
        os.fchdir(before)
        os.close(before)
    assert became == []
