"""`run --image` on FreeBSD: images of the shape that the project publishes, many clones, full pools, Linux images."""

import gzip
import hashlib
import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.image import media_types
from tests.support.freebsd.real import tool
from tests.support.image.images import Layout
from tests.support.image.registry_server import Fake
from tests.support.program import Runjail
from tests.support.story.cli import Cli

pytestmark = pytest.mark.freebsd

MANY = 20
LONG = 400.0  # seconds
ARCHITECTURES = {"aarch64": "arm64"}
LOCKED = "lib/libc.so.7"  # base.txz and the published images carry it with the flag schg
ADDRESS, HEADERS = 0x400000, 64 + 56  # where the Linux program is loaded; the sizes of its two headers


def published(directory: Path, root: Path) -> Path:
    """Pack a root file system as release/scripts/make-oci-image.sh of FreeBSD does: bsdtar, `cmd`, xz around it."""
    layer = directory / "rootfs.tar"
    tool("tar", "-C", str(root), "--strip-components", "1", "--no-read-sparse", "-cf", str(layer), ".")
    plain = layer.read_bytes()
    layout = Layout(directory / "oci")
    config = {
        "created": "2026-11-30T00:00:00Z",
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "freebsd",
        "config": {"cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }
    described = layout.document(config, media_types.OCI_CONFIG).document()
    blob = layout.blob(gzip.compress(plain), media_types.oci_layer("gzip")).document()
    manifest = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "annotations": {}}
    pointed = layout.document(manifest | {"config": described, "layers": [blob]}, media_types.OCI_MANIFEST)
    layout.name("freebsd-runtime:15.1-RELEASE-amd64", pointed)
    archive = directory / "container-image-runtime.txz"
    tool("tar", "-C", str(layout.path), "--xz", "--strip-components", "1", "-cf", str(archive), ".")
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, machine_rootfs: Path) -> Iterator[Path]:
    """A published image of this machine's own programs; its C library may not be changed."""
    directory = tmp_path_factory.mktemp("published")
    root = directory / "root"
    shutil.copytree(machine_rootfs, root, symlinks=True)
    tool("chflags", "schg", str(root / LOCKED))
    yield published(directory, root)
    tool("chflags", "-R", "noschg", str(root))


@pytest.fixture
def image(cli: Cli, archive: Path) -> str:
    """Its name in the store."""
    cli.ok("image", "import", f"oci-archive:{archive}", "freebsd:15.1")
    return "freebsd:15.1"


def test_a_published_image_runs(cli: Cli, image: str) -> None:
    """Its command is found whatever its case, and what the container writes stays in its own root."""
    assert cli.ok("run", "--image", image, "shell", stdin="echo words >/own && cat /own\n") == "words\n"
    assert cli("run", "--image", image, "again", "/bin/test", "-e", "/own").returncode == 1

    cli.ok("image", "rm", image)
    cli.ok("image", "prune")
    assert cli.store.layers() == []


def test_it_comes_from_a_registry(cli: Cli, image: str) -> None:
    pytest.importorskip("urllib3")
    fake = Fake()
    try:
        name = f"{fake.server.host}/freebsd/runtime:15.1"
        cli.ok("image", "push", image, name)
        cli.ok("image", "rm", image)
        cli.ok("image", "prune")

        cli.ok("image", "pull", name)
        assert cli.ok("run", "--image", name, "web", "/bin/echo", "here") == "here\n"
    finally:
        fake.stop()


@pytest.mark.slow
@pytest.mark.limit(900)
def test_many_clones_at_once(cli: Cli, image: str) -> None:
    """The first of them unpacks, the others wait for it; each has its own root, and nothing of any is left."""
    words = [cli.runjail.program, "--root", str(cli.runjail.root), "--store", cli.location, "run", "--image"]
    script = "echo $0 >/own && cat /own"
    started = [
        subprocess.Popen(
            [*words, image, f"c{number}", "/bin/sh", "-c", script, str(number)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        for number in range(MANY)
    ]

    said = [process.communicate(timeout=LONG) for process in started]

    assert said == [(f"{number}\n", "") for number in range(MANY)]
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    assert len(cli.store.layers()) == 1
    assert [line for line in tool("mount", "-p").splitlines() if f"{cli.directory}/runjail" in line] == []


def test_prune_beside_a_container(cli: Cli, image: str) -> None:
    """What it stands on is taken once it is gone, and not before."""
    cli.ok("run", "--image", image, "-d", "web", "/bin/sleep", "600")
    cli.ok("image", "rm", image)
    cli.ok("image", "prune")
    assert (len(cli.store.roots()), cli.ok("exec", "web", "/bin/echo", "alive")) == (1, "alive\n")

    cli.ok("delete", "--force", "web")
    cli.ok("image", "prune")
    assert (cli.store.roots(), cli.store.layers()) == ([], [])


# A pool that is full -------------------------------------------------------------------------------------------------


@pytest.fixture
def small(runjail: Runjail, tmp_path: Path) -> Iterator[Cli]:
    """A store that is a pool of the least size there is."""
    name, disk = f"rjsmall{os.getpid()}", tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    tool("zpool", "create", "-O", "compression=off", "-m", str(tmp_path / "small"), name, str(disk))
    yield Cli(runjail, f"zfs:{name}", tmp_path)
    for id in runjail.ids() if runjail.root.is_dir() else []:
        runjail("delete", "--force", id)
    tool("zpool", "destroy", "-f", name)


@pytest.mark.limit(900)
def test_a_container_that_fills_the_pool_goes_and_gives_the_room_back(small: Cli, archive: Path) -> None:
    small.ok("image", "import", f"oci-archive:{archive}", "freebsd")
    fill = "for size in 65536 512; do dd if=/dev/zero of=/f$size bs=$size 2>/dev/null; done; echo full"

    words = ("--image", "freebsd", "first", "/bin/sh", "-c", fill)
    assert small.ok("run", *words, timeout=LONG) == "full\n"
    assert small.left() == {"roots": [], "bundles": [], "containers": []}

    small.ok("run", "--image", "freebsd", "-d", "stays", "/bin/sleep", "600")
    assert small.ok("exec", "stays", "/bin/sh", "-c", fill, timeout=LONG) == "full\n"
    assert "space" in small.refused("run", "--image", "freebsd", "second", "/bin/echo", "here")
    small.ok("image", "prune")
    small.ok("delete", "--force", "stays")
    assert small.left() == {"roots": [], "bundles": [], "containers": []}


# Linux images --------------------------------------------------------------------------------------------------------

PROGRAM = bytes.fromhex(
    "4881ec00040000"  # sub rsp, 1024
    "b83f0000004889e70f05"  # uname(rsp)
    "b801000000bf010000004889e6ba050000000f05"  # write(1, rsp, 5): the name of the system
    "b83c00000031ff0f05"  # exit(0)
)


def linux_program() -> bytes:
    """Return a static Linux program for amd64 that prints what uname(2) calls the system: `Linux`."""
    size = HEADERS + len(PROGRAM)
    ident = b"\x7fELF\x02\x01\x01\x03" + bytes(8)  # 64 bits, little endian; 3 is Linux
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ADDRESS + HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000)
    return ident + header + segment + PROGRAM


@pytest.mark.limit(900)
@pytest.mark.needs("linux64")
@pytest.mark.parametrize("location", ["zfs", "dir"], indirect=True)
def test_a_linux_image_runs(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "linux-root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/system").write_bytes(linux_program())
    (root / "bin/system").chmod(0o755)
    cli.ok("image", "import", "--platform", "linux/amd64", "--cmd", "/bin/system", f"rootfs:{root}", "linux")

    assert cli.ok("run", "--image", "linux", "web", timeout=LONG) == "Linux"
