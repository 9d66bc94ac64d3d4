"""Many at once: overlapping images pulled, unpacked and run by eight processes share layers and are right."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.image.registry_server import DockerRegistry
from tests.support.story.cli import Cli

pytestmark = pytest.mark.needs("root")
MANY = 8


def start(cli: Cli, *args: str) -> "subprocess.Popen[str]":
    state = ("--root", str(cli.runjail.root), "--store", cli.location)
    command = [cli.runjail.program, *state, *args]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env={"PATH": os.environ["PATH"]}, **streams)  # type: ignore[call-overload]


def finish(processes: "list[subprocess.Popen[str]]") -> list[str]:
    """Wait for all; return what they print, after all of them succeeded."""
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return [out for out, _err in said]


@pytest.fixture
def images(cli: Cli, machine_rootfs: Path, registry: DockerRegistry, tmp_path: Path) -> list[str]:
    """Four images in a registry: two common layers, and a third of their own."""
    layout = f"{tmp_path}/layout"
    run = lambda *args: subprocess.run(args, check=True, capture_output=True)  # noqa: E731
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:base")
    run("umoci", "insert", "--image", f"{layout}:base", str(machine_rootfs), "/")
    (tmp_path / "common").write_text("common" * 1000)
    run("umoci", "insert", "--image", f"{layout}:base", f"{tmp_path}/common", "/common")
    names = []
    for number in range(4):
        (tmp_path / "own").write_text(f"{number}")
        run("umoci", "insert", "--image", f"{layout}:base", "--tag", f"i{number}", f"{tmp_path}/own", "/own")
        run("umoci", "config", "--image", f"{layout}:i{number}", "--config.cmd", "/bin/cat", "--config.cmd", "/own")
        names.append(f"{registry.host}/parallel:{cli.location.partition(':')[0]}{number}")
        cli.ok("image", "import", f"oci:{layout}:i{number}", "moved")
        cli.ok("image", "push", "moved", names[-1])
        cli.ok("image", "rm", "moved")
    assert cli.store.layers() == []
    return names


def expected(cli: Cli) -> int:
    """Return how many layers there are: two common ones, which are one tree in plain directories, and four more."""
    return 4 + (1 if cli.location.startswith("dir:") else 2)


def test_pulls_unpacks_and_runs(cli: Cli, images: list[str]) -> None:
    finish([start(cli, "image", "pull", images[number % 4]) for number in range(MANY)])
    assert sorted(cli.ok("image", "ls", "-q").split()) == sorted(images)

    said = finish([start(cli, "run", "--image", images[number % 4], f"c{number}") for number in range(MANY)])
    assert said == [str(number % 4) for number in range(MANY)]
    assert len(cli.store.layers()) == expected(cli)

    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


def test_runs_that_fetch_beside_prune(cli: Cli, images: list[str]) -> None:
    """Nothing that somebody is about to use is taken from under them."""
    runs = [start(cli, "run", "--image", images[number % 4], f"c{number}") for number in range(MANY)]
    prunes = [start(cli, "image", "prune") for _ in range(4)]

    assert finish(runs) == [str(number % 4) for number in range(MANY)]
    finish(prunes)
    alone = 4 if cli.location.startswith("dir:") else expected(cli)  # no other image had a name yet
    assert len(cli.store.layers()) in (alone, expected(cli))
