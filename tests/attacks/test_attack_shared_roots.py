"""Containers that share one root directory, and roots that outlive them: the end of one takes nothing from another.

On Linux a directory can be removed although another mount namespace has something mounted on it, which is gone then.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import tree
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux


class Pair:
    """Two bundles of one root directory, each with a volume on a mount point that the root lacks."""

    def __init__(self, runjail: Runjail, bundle: Bundle, volume: Path) -> None:
        self.runjail, self.bundle, self.volume = runjail, bundle, volume
        self.before = tree(bundle.rootfs)
        self.groups = bundle.config["linux"].pop("cgroupsPath")
        volume.mkdir()
        (volume / "file").write_text("kept")

    def mount(self, destination: str, source: Path) -> None:
        mount = {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind"]}
        self.bundle.config["mounts"].append(mount)

    def start(self, id: str, runjail: "Runjail | None" = None) -> None:
        program = runjail or self.runjail
        program.ok("create", "-b", self.bundle.write(), id)
        program.ok("start", id)

    def reads(self, id: str, path: str = "/data/inner/file", runjail: "Runjail | None" = None) -> str:
        return (runjail or self.runjail)("exec", id, "cat", path).stdout


@pytest.fixture
def pair(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(runjail, bundle, tmp_path / "volume")
    made.mount("/data/inner", made.volume)
    yield made
    for id in ("first", "second"):
        runjail("delete", "-f", id)


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_the_end_of_one_takes_no_mount_from_the_other(pair: Pair, kind: str) -> None:
    """The first made the mount point; when it took that back, the second lost its volume."""
    if kind == "file":
        pair.bundle.config["mounts"].pop()
        pair.mount("/data/inner/file", pair.volume / "file")
    pair.start("first")
    pair.start("second")
    assert (pair.reads("first"), pair.reads("second")) == ("kept", "kept")

    pair.runjail.ok("delete", "-f", "first")
    assert pair.reads("second") == "kept"

    pair.runjail.ok("delete", "-f", "second")
    assert tree(pair.bundle.rootfs) == pair.before, "the last one removes what the first one made"


def test_nor_from_one_with_another_state_directory(pair: Pair, tmp_path: Path) -> None:
    """No list of containers knows them both."""
    (tmp_path / "other").mkdir()
    other = Runjail(tmp_path / "other")
    try:
        pair.start("first")
        pair.start("second", other)
        pair.runjail.ok("delete", "-f", "first")

        assert pair.reads("second", runjail=other) == "kept"
    finally:
        other("delete", "-f", "second")
    assert tree(pair.bundle.rootfs) == pair.before


def test_nor_does_a_creation_that_fails(pair: Pair) -> None:
    """It made nothing, but it would have taken back a mount point that it found and used."""
    pair.start("first")
    pair.start("second")
    pair.runjail.ok("delete", "-f", "first")
    pair.mount("/more", Path("/nonexistent"))
    failed = pair.runjail("create", "-b", pair.bundle.write(), "first")

    assert failed.returncode == 1
    assert pair.reads("second") == "kept"


def test_nor_does_one_that_is_only_created(pair: Pair) -> None:
    """A container that waits for its start has its mounts already."""
    pair.start("first")
    pair.runjail.ok("create", "-b", pair.bundle.write(), "second")
    pair.runjail.ok("delete", "-f", "first")
    pair.runjail.ok("start", "second")

    assert pair.reads("second") == "kept"


def test_rounds_of_one_beside_another(pair: Pair) -> None:
    """Made and taken back over and over, while the other comes and goes too."""
    for _ in range(6):
        pair.start("first")
        pair.start("second")
        pair.runjail.ok("delete", "-f", "first")
        pair.start("first")
        assert pair.reads("second") == "kept"

        pair.runjail.ok("delete", "-f", "second")
        assert pair.reads("first") == "kept"

        pair.runjail.ok("delete", "-f", "first")
        assert tree(pair.bundle.rootfs) == pair.before


def test_a_container_that_locks_its_root_stops_nobody(pair: Pair) -> None:
    """Whoever shares a root may lock its directory; mounting and removing wait for that only a moment."""
    pair.start("first")
    root = os.open(pair.bundle.rootfs, os.O_RDONLY | os.O_DIRECTORY)  # as a process in the container may
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        pair.start("second")
        pair.runjail.ok("delete", "-f", "first")
        pair.runjail.ok("delete", "-f", "second")
    finally:
        os.close(root)


def test_empty_directories_of_an_image_stay(pair: Pair) -> None:
    """Mount points in a tmpfs of ours have the names of directories that the image has below it."""
    for name in ("dev/pts", "dev/shm", "run/lock"):
        (pair.bundle.rootfs / name).mkdir()
    before = tree(pair.bundle.rootfs)
    pair.bundle.config["mounts"] += [
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs"},
    ]
    pair.mount("/run/lock", pair.volume)
    pair.start("first")
    assert pair.reads("first", "/run/lock/file") == "kept"

    pair.runjail.ok("delete", "-f", "first")
    assert tree(pair.bundle.rootfs) == before


def test_empty_directories_of_a_volume_stay(pair: Pair) -> None:
    """A mount point that was made in a volume is not the root's of the same name."""
    (pair.bundle.rootfs / "data" / "inner" / "deep").mkdir(parents=True)
    pair.mount("/data/inner/deep", pair.volume)
    before = tree(pair.bundle.rootfs)
    pair.start("first")
    assert pair.reads("first", "/data/inner/deep/file") == "kept"

    pair.runjail.ok("delete", "-f", "first")
    assert tree(pair.bundle.rootfs) == before


def test_a_root_that_somebody_else_keeps_has_its_mount_points(pair: Pair, tmp_path: Path) -> None:
    """What podman exports and commits after the end has them, as with runc; in a bundle nothing stays."""
    elsewhere = tmp_path / "elsewhere"
    os.rename(pair.bundle.rootfs, elsewhere)
    pair.bundle.config["root"]["path"] = str(elsewhere)
    pair.start("first")
    pair.runjail.ok("delete", "-f", "first")

    assert set(tree(elsewhere)) - {path.replace(str(pair.bundle.rootfs), str(elsewhere)) for path in pair.before} == {
        f"{elsewhere}/data", f"{elsewhere}/data/inner",
    }  # fmt: skip
