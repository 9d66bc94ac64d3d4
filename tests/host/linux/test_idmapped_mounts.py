"""Idmapped mounts of Linux containers, for real: files that belong to somebody else through one mount."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, failed
from tests.support.program import Bundle, own_words

pytestmark = [pytest.mark.linux, pytest.mark.needs("idmapped mounts")]

OWNER = 5000  # whose files the volume has
SHIFTED = [{"containerID": OWNER, "hostID": 70, "size": 10}]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory with a file of OWNER's, and one below a mount point's name."""
    directory = tmp_path / "volume"
    (directory / "below").mkdir(parents=True)
    for path in (directory, directory / "below", directory / "file", directory / "below" / "file"):
        if not path.exists():
            path.write_text("")
        os.chown(path, OWNER, OWNER + 1)
    return directory


def add(life: Life, source: Path, *options: str, **mappings: Any) -> None:
    """Add a volume with options and perhaps ids."""
    mount = {"destination": "/vol", "type": "bind", "source": str(source), "options": list(options)}
    life.bundle.config["mounts"].append(mount | mappings)


@pytest.mark.parametrize("options", [("bind",), ("rbind", "idmap"), ("rbind", "ridmap", "ro")])
def test_files_are_whose_the_mount_says(life: Life, volume: Path, options: tuple[str, ...]) -> None:
    """Inside they are others'; on disk they stay whose they were, and those that are made are as if from there."""
    add(life, volume, *options, uidMappings=SHIFTED, gidMappings=SHIFTED)
    script = "stat -c '%u %g' /vol/file /vol/below/file"
    assert life.says(script).splitlines() == ["70 71", "70 71"]

    if "ro" not in options:
        life.says("touch /vol/made", user={"uid": 70, "gid": 73})
        made = (volume / "made").stat()
        assert (made.st_uid, made.st_gid) == (OWNER, OWNER + 3)


def test_what_is_mounted_below(life: Life, volume: Path) -> None:
    """`idmap` is of the one mount, `ridmap` of all below it as well."""
    seen = {}
    for word in ("idmap", "ridmap"):
        del life.bundle.config["mounts"][2:]
        add(life, volume, "rbind", word, uidMappings=SHIFTED, gidMappings=SHIFTED)
        bundle = life.bundle.write("/bin/stat", "-c", "%u", "/vol/file", "/vol/below/file")
        script = 'mount --bind "$1/below" "$1/below" && shift && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", script, "sh", str(volume), life.runjail.program]
        command += ["--root", str(life.runjail.root), "run", "-b", bundle, "c"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, own_words(ran.stderr)) == (0, ""), ran
        seen[word] = ran.stdout.split()

    assert seen == {"idmap": ["70", str(OWNER)], "ridmap": ["70", "70"]}


def test_a_volume_of_the_hosts_in_a_user_namespace(life: Life, volume: Path, place: Path) -> None:
    """Without ids of its own the mount has the container's: root's files there are root's inside."""
    for path in (volume, volume / "file"):
        os.chown(path, 0, 0)
    shutil.copytree(life.bundle.path, place / "bundle", symlinks=True)
    for path in (place / "bundle").rglob("*"):
        os.chown(path, 200000, 200000, follow_symlinks=False)
    os.chown(place / "bundle/rootfs", 200000, 200000)
    life = Life(life.runjail, Bundle(place / "bundle", life.bundle.config))
    linux = life.bundle.config["linux"]
    mapping = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    add(life, volume, "bind", "idmap")
    result = life.runjail("create", "-b", life.bundle.write(), "c")
    problem = "mounts[2]: idmap needs uidMappings and gidMappings, here or in the linux section"
    failed(result, f"invalid config.json: {problem}")

    linux |= {"uidMappings": mapping, "gidMappings": mapping}
    linux["namespaces"].append({"type": "user"})
    assert life.says("stat -c '%u %g' /vol /vol/file; touch /vol/made").split() == ["0"] * 4
    assert (volume / "made").stat().st_uid == 0
    life.sleep()
    joined = f"/proc/{life.runjail.state('c')['pid']}/ns/user"
    linux["namespaces"][-1] = {"type": "user", "path": joined}
    linux["cgroupsPath"] += "-d"
    del linux["uidMappings"], linux["gidMappings"]
    said = life.run("stat -c '%u %g' /vol /vol/file; touch /vol/more", id="d")
    assert (said.stderr, said.stdout.split()) == ("", ["0"] * 4)
    assert (volume / "more").stat().st_uid == 0


def test_a_file_system_that_cannot(life: Life) -> None:
    """The error says what it takes, and nothing stays."""
    add(life, Path("/proc/sys"), "bind", uidMappings=SHIFTED, gidMappings=SHIFTED)
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    entry = f"mounts[{len(life.bundle.config['mounts']) - 1}]"
    what = f"{entry}: mounting /proc/sys (bind) on /vol with ids of its own"
    failed(result, f"{what}: mount_setattr(2): invalid argument")
    assert "idmapped mounts take Linux 5.12 and a file system that has them" in result.stderr
    life.gone()
