"""The drivers of stores, as parameters of fixtures."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.storage import overlay_mount
from runjail.storage.open import DRIVERS

NEEDS = {"zfs": [pytest.mark.needs("zfs")], "overlay": [pytest.mark.needs("overlay")]}
KINDS = [pytest.param(name, marks=NEEDS.get(name, [])) for name in DRIVERS]
DIRECTORIES = [kind for kind in KINDS if kind.values != ("zfs",)]


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be: every kind, one after the other. Roots that a test leaves are unmounted."""
    place = request.getfixturevalue("dataset") if request.param == "zfs" else f"{tmp_path}/store"
    yield f"{request.param}:{place}"
    for mounted in mounts(tmp_path):
        overlay_mount.unmount(mounted)


def mounts(below: Path) -> list[str]:
    """Return where something is mounted below a directory, the innermost first."""
    table = Path("/proc/self/mountinfo")
    places = [line.split(" ")[4] for line in table.read_text().splitlines()] if table.exists() else []
    return sorted((place for place in places if place.startswith(f"{below}/")), reverse=True)


def small_disk(directory: Path, size: str, inodes: int) -> Iterator[Path]:
    """Mount a file system that is soon full, yield its place, and unmount it with all that was mounted meanwhile."""
    place = directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "none", str(place)], check=True)
    yield place
    for mounted in (*mounts(directory), str(place)):
        overlay_mount.unmount(mounted)
