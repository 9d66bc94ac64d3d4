"""cp, by the installed program: a running container with mounts, a stopped one, archives, and podman beside it."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers.podman import BARE
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

TREE = (
    "mkdir -p /d/sub; echo a >/d/a; ln -s a /d/link; ln -s /d/sub /way; echo b >/d/sub/b; chmod 750 /d/sub; "
    "echo seen >/m/x; exec sleep 600"
)


@pytest.fixture
def web(cli: Cli, hello: str) -> str:
    """A running container with files and a mount."""
    cli.ok("run", "-d", "--image", hello, "--tmpfs", "/m", "--name", "web", "/bin/sh", "-c", TREE)
    while cli("exec", "web", "/bin/test", "-f", "/m/x").returncode:
        pass
    return "web"


def test_both_ways(cli: Cli, web: str, tmp_path: Path) -> None:
    """What is mounted while it runs is there, and what comes in belongs to its user."""
    cli.ok("cp", "web:/d", str(tmp_path / "out"))
    cli.ok("cp", "web:/m/x", str(tmp_path))
    assert (tmp_path / "out" / "sub" / "b").read_text() == "b\n"
    assert (tmp_path / "x").read_text() == "seen\n"
    os.chown(tmp_path / "x", 123, 456)

    cli.ok("cp", str(tmp_path / "x"), "web:/m/in")
    cli.ok("cp", "--archive=false", str(tmp_path / "x"), "web:/way/kept")

    said = cli.ok("exec", "web", "/bin/sh", "-c", "cat /m/in; ls -ln /m/in; ls -ln /d/sub/kept")
    seen, *owners = said.splitlines()
    assert (seen, [line.split()[2:4] for line in owners]) == ("seen", [["0", "0"], ["123", "456"]])


def test_a_stopped_container(cli: Cli, web: str, tmp_path: Path) -> None:
    cli.ok("kill", "web", "KILL")
    cli.runjail.wait("web")
    cli.ok("cp", "web:d/a", str(tmp_path / "a"))
    cli.ok("cp", str(tmp_path / "a"), "web:/d/new")
    cli.ok("cp", "web:/d/new", str(tmp_path / "again"))

    assert (tmp_path / "again").read_text() == "a\n"


def test_archives_pass_through(cli: Cli, web: str, tmp_path: Path) -> None:
    words = [cli.runjail.program, "--root", str(cli.runjail.root), "cp"]
    data = subprocess.run([*words, "web:/d", "-"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(tar.getnames()) == ["d", "d/a", "d/link", "d/sub", "d/sub/b"]
    subprocess.run([*words, "-", "web:/m"], check=True, input=data)

    assert cli.ok("exec", "web", "/bin/sh", "-c", "cat /m/d/sub/b") == "b\n"
    whole = subprocess.run([*words, "web:/", "-"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert not [name for name in tar.getnames() if name.startswith("./proc/")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("a", "b"), "cp: one side must be ID:PATH"),
        (("-", "-"), "cp: one side may be -, not both"),
        (("./web:x", "/tmp"), "cp: one side must be ID:PATH"),
        (("nobody:/x", "/tmp"), "container does not exist: nobody"),
        (("web:/none", "/tmp"), "web:/none: does not exist"),
        (("/nonexistent", "web:/"), "/nonexistent: does not exist"),
        (("-", "web:/d/a"), "web:/d/a: not a directory"),
    ],
)
def test_what_is_refused(cli: Cli, web: str, words: tuple[str, str], why: str) -> None:
    assert cli.refused("cp", *words) == why


def listed(top: Path) -> dict[str, Any]:
    """Return what is in a directory: type and mode, owner, link or content, by path."""
    found = {}
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(top))] = (oct(about.st_mode), about.st_uid, about.st_gid, what)
    return found


# (what is copied, where to): out of the container into a directory `to` that has a file and a directory, and into it
OUT = [("/d/a", "to"), ("/d/a", "to/new"), ("/d/a", "to/file"), ("/d/a", "to/none/"), ("/d/a", "to/none/x")]
OUT += [("/d", "to"), ("/d", "to/new"), ("/d/.", "to"), ("/d/.", "to/new"), ("/d", "to/file"), ("/d/", "to/dir")]
OUT += [("/way/b", "to"), ("/d/link", "to/end"), ("/none", "to"), ("/d/a/", "to"), ("/way", "to/dir/")]


def test_podman_copies_to_the_same_places(
    cli: Cli, web: str, machine_rootfs: Path, tmp_path: Path, bare_podman: tuple[list[str], dict[str, str]]
) -> None:
    """Whether it works, and what is there afterwards."""
    podman, env = bare_podman
    shutil.copytree(machine_rootfs, tmp_path / "rootfs", symlinks=True)
    (tmp_path / "rootfs" / "m").mkdir()
    thin = [*BARE, "--name=web", "--rootfs", f"{tmp_path}/rootfs"]
    subprocess.run([*podman, "run", "-d", *thin, "/bin/sh", "-c", TREE], check=True, env=env, capture_output=True)
    try:
        theirs, ours = {}, {}
        for number, (source, target) in enumerate(OUT):
            for kind, command, found in (
                ("theirs", [*podman, "cp"], theirs),
                ("ours", [cli.runjail.program, "--root", str(cli.runjail.root), "cp"], ours),
            ):
                place = tmp_path / f"{kind}.{number}"
                (place / "to" / "dir").mkdir(parents=True)
                (place / "to" / "file").write_text("there")
                done = subprocess.run(
                    [*command, f"web:{source}", target], cwd=place, env=env, capture_output=True, check=False
                )
                found[source, target] = (done.returncode == 0, listed(place))
    finally:
        subprocess.run([*podman, "rm", "-f", "-t", "0", "web"], check=True, env=env, capture_output=True)

    assert ours == theirs
