"""Named volumes: kept by the store, filled by the first image, and taken away by nothing but `volume rm`."""

import glob
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from runjail.errors import InUse, StorageError, VolumeNotFound
from runjail.storage.open import open_store
from tests.support.container.harness import until
from tests.support.story.cli import Cli

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def filled(cli: Cli, machine_rootfs: Path, tmp_path: Path) -> str:
    """An image with something at /data, which belongs to somebody."""
    root = tmp_path / "filled"
    shutil.copytree(machine_rootfs, root, symlinks=True)
    (root / "data").mkdir(mode=0o750)
    (root / "data" / "first").write_text("of the image\n")
    (root / "data").chmod(0o2750)
    os.chown(root / "data", 70, 71)
    os.symlink("/data", root / "link")
    cli.ok("image", "import", f"rootfs:{root}", "filled")
    return "filled"


def run(cli: Cli, image: str, volume: str, script: str, *options: str) -> str:
    return cli.ok("run", "--image", image, *options, "-v", volume, "web", "/bin/sh", "-c", script)


def test_a_volume_outlives_its_containers(cli: Cli, filled: str) -> None:
    """The first container's image fills it, its owner and mode too; what is there later stays."""
    script = "cat /data/* ; echo more >/data/second"

    assert run(cli, filled, "kept:/data", script) == "of the image\n"
    assert run(cli, filled, "kept:/data", script) == "of the image\nmore\n"
    assert run(cli, filled, "kept:/elsewhere", "cat /elsewhere/second") == "more\n"

    (listed,) = cli.json("volume", "ls")
    found = os.stat(listed["path"])
    assert (listed["name"], found.st_uid, found.st_gid, found.st_mode & 0o7777) == ("kept", 70, 71, 0o2750)
    cli.ok("image", "rm", "filled")
    cli.ok("image", "prune", "--all")
    assert cli.ok("volume", "ls", "-q") == "kept\n"
    assert cli.ok("volume", "rm", "kept") == "kept\n"
    assert not os.path.exists(listed["path"])
    assert cli.json("volume", "ls") == []


def test_what_an_image_links_to_is_its_own(cli: Cli, filled: str) -> None:
    assert run(cli, filled, "kept:/link", "cat /data/first") == "of the image\n"
    assert run(cli, filled, "new:/nothing/there", "ls /nothing/there") == ""


def test_a_volume_that_is_read_only(cli: Cli, filled: str) -> None:
    assert run(cli, filled, "kept:/data:ro", "cat /data/first; echo x 2>/dev/null >/data/x || echo refused") == (
        "of the image\nrefused\n"
    )
    said = cli.ok("run", "--image", filled, "--mount", "type=volume,src=kept,dst=/m,ro", "web", "/bin/cat", "/m/first")
    assert said == "of the image\n"


def test_a_volume_in_use_stays(cli: Cli, filled: str) -> None:
    cli.ok("run", "-d", "--image", filled, "-v", "kept:/data", "web", "/bin/sleep", "600")

    assert cli.refused("volume", "rm", "kept").startswith("volume kept is in use by web-")
    (found,) = json.loads(cli.ok("volume", "inspect", "kept"))
    assert [user.rpartition("-")[0] for user in found["Users"]] == ["web"]
    cli.ok("delete", "--force", "web")
    assert cli.ok("volume", "rm", "kept") == "kept\n"


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_no_volume_is_removed_while_a_container_comes_to_have_it(cli: Cli, filled: str, location: str) -> None:
    """By the time it is filled the bundle names it, and a removal that looked before that is over."""
    volumes = open_store(location, default="/nonexistent").volumes()
    path = volumes.make("kept")
    checked: list[str] = []
    begun = threading.Thread(target=run, args=(cli, filled, "kept:/data", "cat /data/first >/data/second"))

    def check(place: str) -> None:
        checked.append(place)
        begun.start()
        until(lambda: glob.glob(f"{location.removeprefix('dir:')}/bundles/*/config.json"))

    volumes.remove("kept", check)
    begun.join()

    assert checked == [path]
    assert sorted(os.listdir(path)) == ["first", "second"]  # made and filled again


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_mistakes(cli: Cli, hello: str) -> None:
    assert cli.ok("volume", "create", "kept") == "kept\n" == cli.ok("volume", "create", "kept")
    assert cli.refused("volume", "rm", "none") == "volume does not exist: none"
    assert cli.ok("volume", "rm", "-f", "none", "kept") == "kept\n"
    assert cli.refused("volume", "inspect", "kept") == "volume does not exist: kept"
    assert cli.refused("volume", "create", "a/b") == "'a/b' cannot be the name of a volume"
    for words in (("-v", "-x:/data"), ("--mount", "type=volume,src=../x,dst=/data")):
        assert cli.refused("run", "--image", hello, *words, "web").endswith("cannot be the name of a volume")
    assert cli.ok("volume", "ls", "-q") == ""


def test_a_fill_that_breaks_off_begins_again(location: str) -> None:
    """Whatever half of it is there: no container has had it."""
    volumes = open_store(location, default="/nonexistent").volumes()

    def breaks(path: str) -> None:
        Path(path, "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="volume kept: cannot be filled"):
        volumes.use("kept", breaks)
    seen: list[list[str]] = []
    path = volumes.use("kept", lambda path: seen.append(os.listdir(path)))
    assert volumes.use("kept", lambda _path: pytest.fail("it is used")) == path

    assert seen == [[]]
    volumes.remove("kept")
    with pytest.raises(VolumeNotFound):
        volumes.remove("kept")


def test_what_somebody_put_into_a_new_volume_stays(location: str) -> None:
    """As with podman and docker: nothing of the image comes to it, and above all nothing of it goes."""
    volumes = open_store(location, default="/nonexistent").volumes()
    path = Path(volumes.make("kept"))
    (path / "precious").write_text("mine")

    for _ in range(2):
        assert volumes.use("kept", lambda _path: pytest.fail("it has files")) == str(path)

    assert (path / "precious").read_text() == "mine"
    volumes.remove("kept")


@pytest.mark.needs("zfs")
def test_datasets_below_a_volume_are_none(dataset: str) -> None:
    """Although they inherit its property."""
    volumes = open_store(f"zfs:{dataset}", default="/nonexistent").volumes()
    volumes.make("kept")
    below = f"{dataset}/volumes/kept/below"
    subprocess.run(["zfs", "create", "-o", "canmount=off", below], check=True)

    assert [each.name for each in volumes.all()] == ["kept"]
    with pytest.raises(InUse, match="has what runjail did not make"):
        volumes.remove("kept")
    subprocess.run(["zfs", "destroy", below], check=True)
    volumes.remove("kept")


def test_sweeping_leaves_volumes(location: str) -> None:
    store = open_store(location, default="/nonexistent")
    path = Path(store.volumes().make("kept"))
    (path / "file").touch()

    assert store.sweep() == []
    assert (path / "file").exists()
    assert [each.name for each in store.volumes().all()] == ["kept"]
    store.volumes().remove("kept")
