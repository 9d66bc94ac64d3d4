"""Every session that README and docs show is run as it is written, or the table says why not and which test has it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cli.sessions import commands, manual_session, session, sessions
from tests.support.cli.typed import Machine, on_terminal
from tests.support.program import TOP, Runjail

# Sessions that are run here: page, how their first command begins.
RUN = [
    ("README.md", "mkdir -p bundle/rootfs"),
    ("README.md", "runjail create -b bundle web"),
    ("README.md", "runjail plan -b bundle web"),
    ("docs/callers.md", "mkdir -p web && cp -a DIR web/rootfs"),
    ("docs/callers.md", "runjail create --bundle web --pid-file web.pid web"),
    ("docs/images.md", "runjail image encrypt --recipient jwe:team.pub"),
    ("docs/freebsd.md", "runjail check"),
]
# Those that are not, because they name what no machine has or change this one: who runs the same with names that exist.
WHOLE = "docs/tour.md"  # test_tour.py types all of it, in order
ELSEWHERE = {
    ("README.md", "runjail image pull registry.example/web:1"): "tests/story/test_story_registry.py",
    ("README.md", "make install"): "tests/ci/test_start.py",
    ("README.md", "podman --runtime /usr/local/bin/runjail run --rm"): "tests/peers/test_podman.py",
    ("README.md", "buildah run --isolation oci"): "tests/peers/test_buildah.py",
    ("README.md", "ctr run --runtime io.containerd.runjail.v1"): "tests/peers/test_shim_run.py",
    ("README.md", "ctr run --runc-binary /usr/local/bin/runjail"): "tests/peers/test_containerd.py",
    ("README.md", "make demo"): "tests/demo/test_demo.py",
    ("docs/callers.md", "podman --runtime runjail run --rm"): "tests/peers/test_podman.py",
    ("docs/callers.md", "docker run --rm --runtime runjail"): "tests/peers/test_docker.py",
    ("docs/callers.md", "podman --storage-driver vfs"): "tests/peers/test_podman.py",
    ("docs/callers.md", "#!/bin/sh"): "tests/peers/test_podman.py",
    ("docs/callers.md", "ctr run --rm --runc-binary"): "tests/peers/test_containerd.py",
    ("docs/callers.md", "container=$(buildah from scratch)"): "tests/peers/test_buildah.py",
    ("docs/containerd.md", "ctr run --rm --runtime io.containerd.runjail.v1 IMAGE"): "tests/peers/test_shim_run.py",
    ("docs/containerd.md", "ctr run --rm --runtime io.containerd.runjail.v1 --snap"): "tests/peers/test_shim_run.py",
    ("docs/containerd.md", "ln -s /usr/local/libexec/runjail/runj"): "tests/cli/test_cli_runj.py",
    ("docs/encrypted-images-containerd.md", "ctr image pull"): "tests/peers/test_ctd_decoder_containerd.py",
    ("docs/images.md", "runjail image pull registry.example/web:1"): "tests/story/test_story_registry.py",
    ("docs/images.md", "runjail image import oci-archive:FreeBSD-15.1"): "tests/story/test_story_verbs.py",
    ("docs/freebsd.md", "pkg install python3"): "vagrant/provision.sh",
    ("docs/freebsd.md", "buildah run --isolation oci"): "tests/peers/test_buildah.py",
    ("docs/freebsd.md", "ctr run --rm --runtime io.containerd.runjail.v1"): "tests/peers/test_shim_run.py",
    ("docs/freebsd.md", "jls -j web meta"): "tests/freebsd/test_freebsd_page_real.py",
    ("docs/freebsd.md", "podman run --annotation"): "tests/freebsd/test_fields_real.py",
    ("docs/freebsd.md", "ifconfig bridge0 create"): "tests/freebsd/test_freebsd_page_real.py",
    ("docs/freebsd.md", "sysrc linux_enable=YES"): "vagrant/provision.sh",
    ("docs/freebsd.md", "zfs create -o jailed=on"): "tests/freebsd/test_freebsd_page_real.py",
    ("docs/freebsd.md", "make vagrant-test"): "tests/vagrant/test_vagrant_scripts.py",
}


def test_every_session_is_accounted_for() -> None:
    """Each is in one of the two tables, and no row has lost its session or its test."""
    rows = [*RUN, *ELSEWHERE]
    for page, block in [found for found in sessions() if found[0] != WHOLE]:
        fitting = [row for row in rows if row[0] == page and commands(block)[0].startswith(row[1])]
        assert len(fitting) == 1, f"{page}: {commands(block)[0]}"
    for page, start in rows:
        assert session(page, start)
    assert [path for path in ELSEWHERE.values() if not (TOP / path).exists()] == []


@pytest.fixture
def machine(runjail: Runjail, tmp_path: Path) -> Machine:
    return Machine(runjail, tmp_path)


@pytest.fixture
def root_of(machine_rootfs: Path, machine: Machine) -> None:
    """A root file system in bundle/rootfs, which the documents leave to the reader."""
    shutil.copytree(machine_rootfs, machine.directory / "bundle" / "rootfs", symlinks=True)


@pytest.mark.needs("containers")
def test_the_sessions_of_the_readme(machine: Machine, runjail: Runjail, root_of: None) -> None:
    """From a root file system to a container, at once and step by step; nothing is left."""
    first, second, plan = (session(*row) for row in RUN[:3])

    assert "\nrunjail\n" in machine.follow(first)
    assert '"status": "created"' in machine.follow(second)
    assert "web" in machine.follow(plan)
    assert runjail.ids() == []


@pytest.mark.needs("containers")
def test_the_sessions_of_callers(machine: Machine, runjail: Runjail, machine_rootfs: Path) -> None:
    first, second = (session(*row) for row in RUN[3:5])

    machine.follow(first.replace("DIR", str(machine_rootfs)))
    machine.follow(second)
    assert runjail.ids() == []
    assert (machine.directory / "web.pid").read_text().isdigit()


@pytest.mark.needs("containers", "tar")
def test_the_examples_of_the_manual_page(machine: Machine, runjail: Runjail, machine_rootfs: Path) -> None:
    """In order, from the archive that they begin with; podman's line is run by tests/peers/test_podman.py."""
    script, separator, podman = manual_session("runjail.8").rpartition("# podman ")
    subprocess.run(["tar", "-C", machine_rootfs, "-cf", machine.directory / "base.txz", "."], check=True)

    screen = machine.follow(script)

    assert separator and "run --rm" in podman
    assert "sleep 600" in screen, screen
    assert "runjail" in screen.splitlines(), screen
    assert runjail.ids() == []


@pytest.mark.needs("containers", "module cryptography", "module urllib3", "loopback", "tar")
def test_the_examples_of_the_page_of_images(machine: Machine, runjail: Runjail, machine_rootfs: Path) -> None:
    """With keys and a registry of ours."""
    from tests.support.image import key_fixtures
    from tests.support.image.registry_server import Fake

    pair, server = key_fixtures.rsa_pair("key"), Fake().server
    for name, content in (("public.pem", pair.public), ("private.pem", pair.private)):
        (machine.directory / name).write_bytes(content)
        (machine.directory / name).chmod(0o600)
    subprocess.run(["tar", "-C", machine_rootfs, "-cf", machine.directory / "base.txz", "."], check=True)
    try:
        screen = machine.follow(manual_session("runjail-image.8").replace("registry.example", server.host))
    finally:
        server.stop()
        runjail("--store", machine.env["RUNJAIL_STORE"], "delete", "--force", "web")

    assert "/base:1@sha256:" in screen


@pytest.mark.needs("containers", "module cryptography")
def test_the_session_about_recipients(machine: Machine, runjail: Runjail, machine_rootfs: Path) -> None:
    """With the files that it names."""
    from tests.support.image import key_fixtures

    team, backup, new = (key_fixtures.rsa_pair(name) for name in ("team", "backup", "new"))
    files = {"team.pub": team.public, "team.pem": team.private, "backup.crt": backup.certificate, "new.pub": new.public}
    for name, content in files.items():
        (machine.directory / name).write_bytes(content)
        (machine.directory / name).chmod(0o600)
    words = ("--cmd", "/bin/true", f"rootfs:{machine_rootfs}", "web:1")
    runjail.ok("--store", machine.env["RUNJAIL_STORE"], "image", "import", *words)

    screen = machine.follow(session(*RUN[5]))

    assert "jwe,pkcs7" in screen and "[jwe], [pkcs7]" in screen


def test_the_check(machine: Machine) -> None:
    """It exits with 1 where something is missing, which it then names."""
    code, output = on_terminal("\n".join(commands(session(*RUN[6]))), machine.directory, machine.env)

    assert code in (0, 1)
    assert "WHAT" in output and "REMEDY" in output
