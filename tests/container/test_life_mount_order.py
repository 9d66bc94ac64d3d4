"""Mounts whose sources are what earlier mounts have put into the container's own root, as runc's tests have them."""

from pathlib import Path

import pytest

from tests.support.container.harness import Life

pytestmark = [pytest.mark.linux, pytest.mark.needs("containers")]


def bind(life: Life, source: Path, destination: str) -> None:
    mount = {"source": str(source), "destination": destination, "type": "bind", "options": ["rbind"]}
    life.bundle.config["mounts"].append(mount)


@pytest.fixture
def sources(life: Life, place: Path) -> Path:
    """Directories a/x and b/y with a file each, and two places in the root."""
    for name in ("a/x", "b/y"):
        (place / "sources" / name).mkdir(parents=True)
        (place / "sources" / name / "file").write_text(f"{name}\n")
    for name in ("mnt", "final"):
        (life.bundle.rootfs / name).mkdir(exist_ok=True)
    return place / "sources"


def test_each_sees_those_before_it(life: Life, sources: Path) -> None:
    """A later bind mount takes along what earlier ones have put into its source."""
    bind(life, sources / "a", "/mnt")
    bind(life, sources / "b", "/mnt/x")
    bind(life, life.bundle.rootfs / "mnt", "/final")

    assert life.says("cat /final/x/y/file; ls /final/x") == "b/y\ny\n"


def test_a_destination_is_a_path_inside(life: Life, sources: Path) -> None:
    """Also when it begins with the root's own path on the host, which runc takes away: docs/callers.md."""
    inside = f"{life.bundle.rootfs}/final"
    bind(life, sources / "a", inside)

    assert life.says(f"cat {inside}/x/file; ls /final") == "a/x\n"


@pytest.mark.needs("user namespaces")
def test_before_there_is_anything_in_a_user_namespace(life: Life, sources: Path) -> None:
    """Sources are opened before anything is mounted: one that is not there by then is an error, and nothing stays."""
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    life.bundle.config["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    life.bundle.config["linux"]["namespaces"].append({"type": "user"})
    bind(life, sources / "a", "/mnt")
    bind(life, life.bundle.rootfs / "mnt" / "x", "/final")
    refused = life.run("true")

    assert refused.returncode == 1 and f"mounting {life.bundle.rootfs}/mnt/x (bind)" in refused.stderr
    assert "on /final: does not exist" in refused.stderr
    life.gone()
