"""network gc: plugins take back what they keep for containers that are gone, and for no other."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.network.plugins import Cni
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root", "linux", "containers"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
    pytest.mark.limit(600),
]


@pytest.fixture
def cni(tmp_path: Path, cli: Cli) -> Cni:
    """Two plugins and a network of them."""
    found = Cni(tmp_path / "cni")
    found.add("first", "second")
    found.write("web", {"type": "first"}, {"type": "second"}, version="1.1.0")
    cli.env = found.env()
    return found


def test_what_is_lost_is_taken_back(cli: Cli, hello: str, cni: Cni) -> None:
    """One attachment is of nobody whom we know, one of a container that runs."""
    cli.ok("run", "-d", "--image", hello, "--network", "web", "there", "/bin/sleep", "600")
    before = cni.taken()
    cni.attachment("web").add()
    assert len(cni.taken()) == 4

    cli.ok("network", "gc", "web")
    assert cni.taken() == before
    asked = [(config["type"], words) for command, config, words in cni.seen() if command == "GC"]
    assert [kind for kind, _ in asked] == ["first", "second"]
    assert all(words.keys() == {"CNI_COMMAND", "CNI_PATH"} for _, words in asked)
    cli.ok("delete", "--force", "there")
    assert cni.taken() == []


def test_containers_of_another_root_stay(cli: Cli, hello: str, cni: Cni) -> None:
    cli.ok("run", "-d", "--image", hello, "--network", "web", "there", "/bin/sleep", "600")
    before, root = cni.taken(), str(cli.runjail.root)

    cli.ok("--root", f"{root}.other", "network", "gc", "--other-root", root, "--other-root", f"{root}/", "web")
    assert cni.taken() == before
    cli.ok("--root", f"{root}.other", "network", "gc", "web")
    assert cni.taken() == []
    cli.ok("delete", "--force", "there")


def test_nobody_is_attached_meanwhile(cli: Cli, hello: str, cni: Cni) -> None:
    """A container that is made while somebody collects waits: its address is not among those that there are."""
    cli.ok("run", "--image", hello, "--network", "web", "before", "/bin/true")
    seen = len(cni.seen())
    directory = os.open(cli.runjail.root, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    words = [cli.runjail.program, "--root", str(cli.runjail.root), "--store", cli.location, "run", "--image", hello]
    env = {"PATH": os.environ["PATH"], **cli.env}
    with subprocess.Popen([*words, "--network", "web", "web", "/bin/true"], env=env) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert len(cni.seen()) == seen
        os.close(directory)
        assert process.wait(100) == 0


def test_a_list_that_cannot_be_asked(cli: Cli, hello: str, cni: Cni) -> None:
    cni.write("old", {"type": "first"})
    cni.write("not", {"type": "first"}, version="1.1.0", disableGC=True)
    cni.write("bad", {"type": "first", "fail": ["GC"]}, {"type": "second"}, version="1.1.0")
    (cni.base / "taken").mkdir()

    assert cli.refused("network", "gc", "old") == "network old: its list has version 1.0.0, and GC came with 1.1.0"
    assert cli.refused("network", "gc", "not") == "network not: its list has disableGC"
    assert cli.refused("network", "gc", "bad") == "network bad: CNI plugin first: GC: no room: try again"
    assert [config["type"] for command, config, _ in cni.seen() if command == "GC"] == ["first", "second"]
    assert cli.refused("network", "gc", "nope").startswith("there is no network nope")
    lost = f"{cli.runjail.root}.lost"
    assert cli.refused("network", "gc", "--other-root", lost, "bad") == f"--other-root: no such directory: {lost}"
