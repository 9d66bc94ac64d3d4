"""podman's --uidmap with runjail as its runtime: containers in user namespaces, whose root is nobody here."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import Tidiness
from tests.support.peers.podman import Podman

pytestmark = [pytest.mark.peers("podman", "conmon"), pytest.mark.linux, pytest.mark.needs("user namespaces")]

FIRST = 200000
MAPPED = f"--uidmap 0:{FIRST}:5000 --gidmap 0:{FIRST}:5000"


@pytest.fixture
def podman(place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Podman]:
    """podman and a root file system that belongs to its containers' root."""
    shutil.copytree(machine_rootfs, place / "rootfs", symlinks=True)
    for path in (place / "rootfs", *(place / "rootfs").rglob("*")):
        os.chown(path, FIRST, FIRST, follow_symlinks=False)
    run = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    run.chmod(0o755)
    made = Podman(place, run, place / "rootfs", leftovers)
    yield made
    with contextlib.suppress(AssertionError):
        made("rm", "--force", "--time=0", "--all")
    made("umount", "--all", "--force")
    try:
        Tidiness([place, run], made.state, leftovers, ("conmon",)).check()
    finally:
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("", ["0", "0", str(FIRST), "5000", "0"]),
        ("--user 1000:1000", ["1000", "0", str(FIRST), "5000", "0"]),
        ("--read-only --cap-drop all", ["0", "0", str(FIRST), "5000", "0"]),
    ],
)
def test_uidmap(podman: Podman, options: str, shown: list[str]) -> None:
    script = "id -u; cat /proc/self/uid_map; stat -c %u /etc/passwd"
    done = podman.run(f"--rm {MAPPED} {options}", "sh", "-c", script)

    assert (done.code, done.out.split()) == (0, shown), done


def test_a_life_with_exec(podman: Podman, place: Path) -> None:
    """What the host's root keeps to itself is a volume all the same; its files are nobody's inside."""
    volume = place / "kept" / "volume"
    volume.mkdir(parents=True)
    (place / "kept").chmod(0o700)
    (volume / "file").write_text("content\n", encoding="ascii")
    podman.detached("web", "sleep", "600", options=f"{MAPPED} -v {volume}:/volume:ro")
    done = podman("exec", "web", "sh", "-c", "cat /proc/self/uid_map /volume/file; stat -c %u /volume/file; id -u")

    assert done.out.split() == ["0", str(FIRST), "5000", "content", "65534", "0"], done
    assert podman("exec", "--user", "7", "web", "id", "-u").out == "7\n"
    podman.ok("stop", "--time=0", "web")
