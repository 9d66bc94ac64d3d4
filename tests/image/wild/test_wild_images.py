"""What another tool runs, we run; what is refused is refused for a reason that is said. The table is in shapes.py."""

import subprocess
from pathlib import Path

import pytest

from runjail.errors import ImageError
from runjail.image import resolve
from runjail.image.bundle import oci_config
from runjail.image.bundle.unpack import authorise
from runjail.image.content.copy import copy_in
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.layers import layer as layers
from tests.support.image.images import LINUX, Layout
from tests.support.image.shapes import SHAPES, Shape

pytestmark = pytest.mark.needs("root")
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))


def start(layout: Layout, content: ContentStore, root: Path) -> dict[str, object]:
    """Take an image in, unpack it and return the process of its config.json."""
    name, top = "localhost/t:1", copy_in(LayoutSource(str(layout.path), "t"), content, "localhost/t:1")
    image = resolve.load(content.read, name, top, [LINUX])
    authorise(image, {}, {})
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        with content.reading(layer.digest) as blob:
            layers.unpack(blob, str(root), diff_id)
    found: dict[str, object] = oci_config.config(image.config, str(root), host="linux")["process"]
    return found


@EACH
def test_what_others_run_we_run(shape: Shape, layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shape.make(layout)

    if shape.refused:
        with pytest.raises(ImageError, match=shape.refused):
            start(layout, content, root)
    else:
        process = start(layout, content, root)
        assert {name: process[name] for name in shape.process} == shape.process
    assert not list(root.glob("**/.wh.*"))


@pytest.mark.peers("skopeo", "umoci")
@EACH
def test_what_others_say(shape: Shape, layout: Layout, tmp_path: Path) -> None:
    """The verdicts in the table are theirs."""
    shape.make(layout)
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    copy = ["skopeo", "--policy", str(policy), "--override-os=linux", "--override-arch=amd64", "copy"]
    unpack = ["umoci", "unpack", "--image", f"{layout.path}:t", f"{tmp_path}/bundle"]

    copied = subprocess.run([*copy, f"oci:{layout.path}:t", f"oci:{tmp_path}/copy:t"], capture_output=True, check=False)
    assert (copied.returncode == 0) is shape.skopeo, copied.stderr
    unpacked = subprocess.run(unpack, capture_output=True, check=False)
    assert (unpacked.returncode == 0) is shape.umoci, unpacked.stderr
