"""Jails that a container of a real FreeBSD makes itself, and root file systems in memory."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life, until
from tests.support.freebsd.real import tool
from tests.support.machine_root import add_program

pytestmark = pytest.mark.freebsd
ID = f"rjlife{os.getpid()}"  # whose jail has this name, whatever else this machine runs


def names() -> list[str]:
    """Every jail of this machine, those that die included."""
    return tool("jls", "-d", "name").split()


# Jails in jails -------------------------------------------------------------------------------------------------------


@pytest.fixture
def parent(life: Life, tmp_path: Path) -> Life:
    """A container that may make two jails, with jail(8) inside; it runs."""
    settings = tmp_path / "runjail.toml"
    settings.write_text('[jail]\nallow = ["children.max"]\n')
    for program in ("/usr/sbin/jail", "/usr/sbin/jexec", "/usr/sbin/jls"):
        add_program(str(life.bundle.rootfs), program)
    life.bundle.config["annotations"] = {"org.freebsd.jail.children.max": "2"}
    path = life.bundle.write("/bin/sleep", "600")
    life.runjail.ok("create", "-b", path, ID, env={"RUNJAIL_CONFIG": str(settings)})
    life.runjail.ok("start", ID)
    return life


def test_a_container_makes_jails_and_they_go_with_it(parent: Life) -> None:
    """It sees its own, not itself and not the host's; a third is refused; those of its processes are its processes."""
    runjail = parent.runjail
    for name in ("one", "two"):
        runjail.ok("exec", ID, "/bin/jail", "-c", f"name={name}", "path=/", "persist")
    refused = runjail("exec", ID, "/bin/jail", "-c", "name=three", "path=/", "persist")
    runjail.ok("exec", "-d", ID, "/bin/jexec", "one", "/bin/sleep", "601")

    assert refused.returncode == 1 and "limit exceeded" in refused.stderr
    assert runjail.ok("exec", ID, "/bin/jls", "name").stdout.split() == ["one", "two"]
    assert {ID, f"{ID}.one", f"{ID}.two"} <= set(names())
    until(lambda: "sleep 601" in runjail.ok("ps", ID).stdout)
    runjail.ok("delete", "--force", ID)
    until(lambda: not [name for name in names() if name.split(".")[0] == ID])


# A root in memory -----------------------------------------------------------------------------------------------------


@pytest.fixture
def memory(tmp_path: Path, machine_rootfs: Path) -> Iterator[Path]:
    """A root file system on a tmpfs of the host's."""
    place = tmp_path / "memory"
    place.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place))
    shutil.copytree(machine_rootfs, place / "rootfs", symlinks=True)
    yield place
    end = time.monotonic() + 60
    while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
        assert time.monotonic() < end, "the container's root stays busy"
        time.sleep(0.1)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_root_in_memory(life: Life, memory: Path, readonly: bool) -> None:
    """It is written to unless it is read-only, and the tmpfs can be unmounted once the container is gone."""
    life.bundle.config["root"] = {"path": str(memory / "rootfs"), "readonly": readonly}
    life.bundle.config["mounts"].append({"destination": "/made/here", "type": "tmpfs", "source": "tmpfs"})
    result = life.run("echo words >/made/here/file && cat /made/here/file && echo words >/own", id=ID)

    assert result.stdout == "words\n"
    assert (result.returncode == 0) is not readonly
    assert (memory / "rootfs/own").exists() is not readonly
    assert life.runjail.ids() == []
    assert tool("mount", "-p").count(str(memory)) == 1
