"""The spy of test_attack_joining.py in user namespaces, whose root it is: all capabilities there, none here."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.test_attack_joining import EXECS, Watched, environment
from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail, base_config

pytestmark = [pytest.mark.linux, pytest.mark.needs("gcc", "user namespaces")]

FIRST = 200000
MAPPING = [{"containerID": 0, "hostID": FIRST, "size": 65536}]


def bundle_of(path: Path, rootfs: Path, leftovers: Leftovers) -> Bundle:
    """Make a bundle whose root directory belongs to the user namespace."""
    shutil.copytree(rootfs, path / "rootfs", symlinks=True)
    for place in (path / "rootfs", *(path / "rootfs").rglob("*")):
        os.chown(place, FIRST, FIRST, follow_symlinks=False)
    config = base_config(leftovers)
    config["linux"] |= {"uidMappings": MAPPING, "gidMappings": MAPPING}
    config["linux"]["namespaces"].append({"type": "user"})
    return Bundle(path, config)


@pytest.fixture
def watched(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers, spy: Path) -> Iterator[Watched]:
    """One container in a user namespace, with a spy that may trace everybody in it."""
    made = Watched(runjail, bundle_of(place / "bundle", machine_rootfs, leftovers), spy, place / "marker")
    yield made
    made.calm()


def test_the_spy_sees_its_own_container(watched: Watched) -> None:
    watched.start()
    watched.watch("/etc/hosts", "PATH=")
    watched.runjail.ok("exec", "c", "/bin/sleep", "1")

    assert {line.split()[0] for line in watched.found()} >= {"root", "cwd", "environ"}


@pytest.mark.limit(600 + 10 * EXECS)
def test_exec_shows_nothing(watched: Watched) -> None:
    """A change of ids makes a process dumpable again where the machine says so (fs.suid_dumpable)."""
    watched.start()
    watched.watch()
    for _ in watched.often(EXECS // 2, EXECS / 4):
        watched.runjail.ok("exec", "c", "/bin/true", env=environment())
        watched.runjail.ok("exec", "-u", "1000:1000", "c", "/bin/true", env=environment())

    assert watched.found() == []
    assert watched.seen >= EXECS / 4, "the spy was too slow to see them"


def test_a_created_container_and_its_hooks_show_nothing(watched: Watched) -> None:
    """Its parked init, which knows the caller's environment until it is confined, and what `start` brings in."""
    watched.start_with_hooks(40)

    assert watched.found() == []
    assert watched.seen >= 1


@pytest.mark.limit(600 + 10 * EXECS)
def test_another_container_of_the_pod_shows_nothing(
    watched: Watched, place: Path, machine_rootfs: Path, leftovers: Leftovers
) -> None:
    """It has joined the user namespace, where the spy is root, before it appears in the pid namespace."""
    watched.start()
    watched.watch()
    second = bundle_of(place / "second", machine_rootfs, leftovers)
    second.config["linux"]["namespaces"][-1]["path"] = f"/proc/{watched.runjail.state('c')['pid']}/ns/user"
    bundle = watched.pod(second)
    watched.lives_beside(bundle, EXECS // 10, EXECS / 10)

    assert watched.found() == []
    assert watched.seen >= EXECS / 10


def test_a_volume_leaves_no_descriptor(watched: Watched, place: Path) -> None:
    """Sources of bind mounts are opened outside: neither init nor exec has them."""
    (place / "volume").mkdir()
    for number in range(3):
        mount = {
            "destination": f"/volume{number}",
            "type": "bind",
            "source": str(place / "volume"),
            "options": ["bind"],
        }
        watched.bundle.config["mounts"].append(mount)
    created = watched.runjail.ok("create", "-b", watched.bundle.write("/bin/ls", "/proc/self/fd"), "c")
    watched.runjail.ok("start", "c")
    watched.runjail.wait("c")

    assert created.stdout.split() == ["0", "1", "2", "3"]


def test_its_root_is_nobody_outside(watched: Watched, place: Path) -> None:
    """A file of the host's root that a volume brings: neither its capabilities nor its id open it."""
    secret = place / "volume" / "secret"
    secret.parent.mkdir(mode=0o755)
    secret.write_text("of the host", encoding="ascii")
    secret.chmod(0o600)
    mount = {"destination": "/volume", "type": "bind", "source": str(secret.parent), "options": ["bind"]}
    watched.bundle.config["mounts"].append(mount)
    script = "cat /volume/secret || chown 0 /volume/secret || echo > /proc/sys/kernel/core_pattern || echo held"
    created = watched.runjail.ok("create", "-b", watched.bundle.write("/bin/sh", "-c", script), "c")
    watched.runjail.ok("start", "c")
    watched.runjail.wait("c")

    assert created.stdout.split() == ["held"]
    assert secret.read_text(encoding="ascii") == "of the host"
