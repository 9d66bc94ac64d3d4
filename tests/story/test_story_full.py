"""A store that is full, out of inodes, over its quota or read-only: one clear line, and nothing half made."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.image.images import Files, Layout
from tests.support.storage.kinds import DIRECTORIES, KINDS, mounts, small_disk
from tests.support.story.cli import Cli

pytestmark = pytest.mark.needs("root", "linux", "mounts")
ZFS = [kind for kind in KINDS if kind.values == ("zfs",)]


@pytest.fixture
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB and 400 inodes."""
    yield from small_disk(tmp_path, "4m", 400)


def large(tmp_path: Path, how: str) -> str:
    """Return an image whose second layer has more bytes, or files, than the file system takes; packed it is small."""
    files: Files = {"zeros": b"\0" * (6 << 20)} if how == "bytes" else {f"d/f{number}": "" for number in range(500)}
    layout = Layout(tmp_path / "layout")
    layout.image("large", [{"bin/sh": "#!"}, files, {"more": "x"}])
    return f"oci:{layout.path}:large"


def half_made(cli: Cli) -> list[str]:
    """Return what nobody makes any more, and is there."""
    store: Any = cli.store
    return [*store.sweep(), *(str(root.name) for root in store.roots()), *os.listdir(store.bundles())]


def refused(cli: Cli, *words: str) -> str:
    """Run a verb that has no room; return its one line, which says why."""
    result = cli(*words)
    assert result.returncode == 1, result
    assert len(result.stderr.splitlines()) == 1, result
    return result.stderr


@pytest.mark.parametrize("kind", DIRECTORIES)
@pytest.mark.parametrize("how", ["bytes", "inodes"])
def test_an_image_that_does_not_fit(runjail: Any, small: Path, tmp_path: Path, kind: str, how: str) -> None:
    """Where it came in first, and where it is unpacked while it comes."""
    cli, image = Cli(runjail, f"{kind}:{small}/store", tmp_path), large(tmp_path, how)
    for words in (
        ("image", "unpack", image),
        ("run", "--image", image, "c1"),
        ("image", "bundle", image, f"{tmp_path}/b"),
    ):
        assert "o space left" in refused(cli, *words)
        assert half_made(cli) == []
        assert mounts(small) == []
    assert not (tmp_path / "b").exists()

    cli.ok("image", "prune", "--all")
    Layout(tmp_path / "other").image("fits", [{"a": "1"}])
    cli.ok("image", "unpack", f"oci:{tmp_path}/other:fits")


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_blob_that_does_not_fit(runjail: Any, small: Path, tmp_path: Path, kind: str) -> None:
    cli = Cli(runjail, f"{kind}:{small}/store", tmp_path)
    layout = Layout(tmp_path / "layout")
    layout.image("large", [{"noise": os.urandom(6 << 20)}])

    assert "do not fit on the disk" in refused(cli, "run", "--image", f"oci:{layout.path}:large", "c1")
    assert "do not fit on the disk" in refused(cli, "image", "import", f"oci:{layout.path}:large", "large")
    assert half_made(cli) == []
    assert os.listdir(small / "store/content/ingest") == []
    assert cli.json("image", "ls") == []


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_a_store_that_became_read_only(runjail: Any, small: Path, tmp_path: Path, kind: str) -> None:
    """What is there is shown; nothing is run and nothing comes in, and it says why."""
    cli, layout = Cli(runjail, f"{kind}:{small}/store", tmp_path), Layout(tmp_path / "layout")
    layout.image("small", [{"bin/sh": "#!"}])
    cli.ok("image", "import", f"oci:{layout.path}:small", "small")
    cli.ok("image", "unpack", "small")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    try:
        shown = cli.json("image", "ls")
        assert [image["name"] for image in shown] == ["docker.io/library/small:latest"]
        for words in (("run", "--image", "small", "c1"), ("image", "import", f"oci:{layout.path}:small", "again")):
            assert "read-only file system" in refused(cli, *words)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)

    assert half_made(cli) == []
    assert cli.json("image", "ls") == shown


@pytest.mark.parametrize("location", ZFS, indirect=True)
def test_a_dataset_that_is_over_its_quota(cli: Cli, tmp_path: Path, dataset: str) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("noise", [{"bin/sh": "#!"}, {"noise": os.urandom(12 << 20)}, {"more": "x"}])
    cli.ok("image", "import", f"oci:{layout.path}:noise", "noise")
    subprocess.run(["zfs", "set", "quota=20m", dataset], check=True)

    said = refused(cli, "image", "unpack", "noise").lower()
    assert "quota" in said or "space" in said
    assert half_made(cli) == []
    subprocess.run(["zfs", "set", "quota=none", dataset], check=True)
    cli.ok("image", "unpack", "noise")
