"""What an image's config asks for beyond its root: volumes over the kernel's file systems, links as mount points.

An image that is run with a read-only root has its volumes as tmpfs with what the image has there. Of /proc that would
be files without an end, and such that wait for ever.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runjail import rootfs
from runjail.image.bundle import oci_config
from runjail.image.model import parse_config
from runjail.image.platform import host
from tests.support.container.harness import Life
from tests.support.program import Bundle, Runjail

SOON = 30  # seconds


def config_of(volumes: list[str]) -> bytes:
    system = host()
    return json.dumps(
        {
            "os": system.os,
            "architecture": system.architecture,
            "config": {"Cmd": ["/bin/true"], "Volumes": {volume: {} for volume in volumes}},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    ).encode()


@pytest.mark.parametrize("volume", ["/proc", "/proc/sys", "/sys", "/sys/fs/cgroup", "/dev", "//dev//shm", "/./proc/"])
def test_volumes_over_the_kernels_file_systems(tmp_path: Path, volume: str) -> None:
    """No mount of the image's stands on them, one of its own beside them does."""
    image = parse_config(config_of([volume, "/data"]), 0)
    document = oci_config.config(image, str(tmp_path), host=host().os, network="none", readonly=True)

    tmpfs = [mount["destination"] for mount in document["mounts"] if "tmpcopyup" in mount.get("options", [])]
    assert tmpfs == ["/data"]


@pytest.mark.linux
@pytest.mark.parametrize("place", ["/link", "/link/self", "/proc", "/sys/kernel"])
def test_copying_of_what_never_ends(runjail: Runjail, bundle: Bundle, place: str) -> None:
    """A link of the image leads the tmpfs onto /proc, which is mounted by then: nothing of it is read."""
    life = Life(runjail, bundle)
    (bundle.rootfs / "link").symlink_to("/proc")
    (bundle.rootfs / "data").mkdir()
    (bundle.rootfs / "data/file").write_text("the image's\n")
    options = ["tmpcopyup", "size=256k", "nosuid"]
    for destination in (place, "/data"):
        life.bundle.config["mounts"].append(
            {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}
        )
    words = ("/bin/sh", "-c", f"cat /data/file; ls {place}")
    result = runjail("run", "-b", life.bundle.write(*words), "c", timeout=SOON)

    assert result.stdout == "the image's\n", result
    assert result.returncode == 0


def test_copies_stay_in_one_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted below the place that is covered is an empty directory in the copy."""
    for name in ("source/own", "source/other", "target"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "target/file").unlink()
    real = os.stat

    def foreign(path: str, **more: Any) -> Any:
        found = real(path, **more)
        names = [name for name in dir(found) if name.startswith("st_")]
        said = {name: getattr(found, name) for name in names} | {"st_dev": found.st_dev + (path == "other")}
        return SimpleNamespace(**said)

    monkeypatch.setattr(os, "stat", foreign)
    source, target = (os.open(tmp_path / name, os.O_RDONLY) for name in ("source", "target"))
    rootfs.copy_tree(source, target)
    os.close(source)
    os.close(target)

    assert sorted(str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*")) == [
        *("other", "own", "own/file")
    ]
