"""What another tool runs, we run; what is refused is refused for a reason that is said: docs/wild-images.md."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import RunjailError
from runjail.image import resolve
from runjail.image.bundle import oci_config
from runjail.image.bundle.unpack import authorise
from runjail.image.content.copy import copy_in
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.layers import layer as layers
from tests.support.image.images import LINUX, Layout
from tests.support.image.wild import RUNS, WILD, verdicts

pytestmark = pytest.mark.needs("root")
VERDICTS = verdicts()
EACH = pytest.mark.parametrize("name", WILD)
# Nodes are left out, as /dev is the runtime's; so are notes of AUFS, as by podman
OTHERWISE = ("a device", "notes of AUFS")


def start(layout: Layout, content: ContentStore, root: Path) -> dict[str, object]:
    """Take an image in, unpack it and return the process of its config.json."""
    root.mkdir()
    name, top = "localhost/t:1", copy_in(LayoutSource(str(layout.path), "t"), content, "localhost/t:1")
    image = resolve.load(content.read, name, top, [LINUX])
    authorise(image, {}, {})
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        with content.reading(layer.digest) as blob:
            layers.unpack(blob, str(root), diff_id)
    found: dict[str, object] = oci_config.config(image.config, str(root), host="linux")["process"]
    return found


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all that is below a root: mode, owner, what is in it, and the time of files."""
    found = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = (file.read(), int(status.st_mtime))
            relative = os.path.relpath(path, os.fsencode(root)).decode("utf-8", "backslashreplace")
            found[relative] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def test_the_table_has_every_image() -> None:
    assert list(VERDICTS) == list(WILD)
    assert len(WILD) > 120


@EACH
def test_what_others_run_we_run(name: str, layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    shape, said = WILD[name], VERDICTS[name][0]
    shape.make(layout)

    try:
        process = start(layout, content, tmp_path / "root")
    except RunjailError as error:
        assert said != RUNS, error
        assert str(error).startswith(said)
    else:
        assert said == RUNS
        assert {key: process[key] for key in shape.process} == shape.process
    assert not list(tmp_path.glob("root/**/.wh.*"))


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for podman, which takes no long path and makes a name of it, without capitals."""
    path = Path(tempfile.gettempdir(), f"wild{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.peers("skopeo", "umoci", "podman")
@EACH
def test_what_others_say(name: str, layout: Layout, content: ContentStore, tmp_path: Path, short: Path) -> None:
    """The table has their verdicts, and what both unpack is the same."""
    WILD[name].make(layout)
    (short / "l").symlink_to(layout.path)
    policy, image = tmp_path / "policy.json", f"oci:{short}/l:t"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    copy = ["skopeo", "--policy", str(policy), "--override-os=linux", "--override-arch=amd64", "copy"]
    unpack = ["umoci", "unpack", "--image", f"{layout.path}:t", f"{tmp_path}/bundle"]
    place = ["--root", f"{tmp_path}/podman", "--runroot", f"{short}/run", "--storage-driver", "vfs"]
    pull = ["podman", *place, "pull", "-q", "--arch=amd64", "--signature-policy", str(policy), image]

    ended = [
        subprocess.run(command, capture_output=True, check=False)
        for command in ([*copy, image, f"oci:{tmp_path}/copy:t"], unpack, pull)
    ]

    assert tuple(each.returncode == 0 for each in ended) == VERDICTS[name][1:], [each.stderr for each in ended]
    if VERDICTS[name][0] == RUNS and VERDICTS[name][2] and name not in OTHERWISE:
        start(layout, content, tmp_path / "root")
        assert listing(tmp_path / "root") == listing(tmp_path / "bundle" / "rootfs")
