"""A layout in a directory that somebody else can write to as well: links and FIFOs where files of ours will be.

What they lead to is the victim, a file of the host's; the image has to come out whole, or one error at once.
"""

import os
from pathlib import Path

import pytest

from runjail.errors import ImageError
from runjail.image.content.copy import copy_in, copy_out, parts
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.attacks.soon import soon
from tests.support.image.images import Layout, digest_of


class Image:
    """An image in a store, and a directory to export it to that is prepared by an attacker. victim: a file."""

    def __init__(self, directory: Path) -> None:
        layout = Layout(directory / "source")
        layout.image("web", [{"hello": "world\n" * 100}])
        self.content = ContentStore(str(directory / "content"))
        self.top = copy_in(LayoutSource(str(layout.path), "web"), self.content, "web")
        self.layer = max(parts(self.content.read, self.top).blobs, key=lambda blob: blob.size)
        self.target = directory / "target"
        ContentStore(str(self.target), 0o777)
        (self.target / "ingest").mkdir()
        self.victim = directory / "victim"
        self.victim.write_bytes(b"the host's\n" * 1000)
        self.before = self.victim.stat()

    def partial(self, blob: Descriptor) -> Path:
        return self.target / "ingest" / blob.digest.replace(":", "-")

    def export(self) -> None:
        """Export the image, which may take only so long."""
        raised = soon(lambda: copy_out(self.content, "web", LayoutSink(str(self.target), "web")))
        if raised:
            raise raised

    def check(self) -> None:
        """Look at the victim, and at what was exported."""
        now = self.victim.stat()
        assert self.victim.read_bytes() == b"the host's\n" * 1000, "the host's file was written to"
        assert (now.st_mode, now.st_uid, now.st_mtime_ns) == (
            self.before.st_mode,
            self.before.st_uid,
            self.before.st_mtime_ns,
        )
        again = ContentStore(str(self.target))
        assert again.names()["web"].digest == self.top.digest
        for blob in parts(again.read, self.top).blobs:
            assert digest_of(Path(again.path(blob.digest)).read_bytes()) == blob.digest


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_nobody_was_there(image: Image) -> None:
    """The positive control."""
    image.export()
    image.check()


@pytest.mark.parametrize("name", [".index.json.new", ".oci-layout.new"])
@pytest.mark.parametrize("how", ["link", "symlink", "FIFO"])
def test_a_document_that_is_written_anew(image: Image, name: str, how: str) -> None:
    place = image.target / name
    if how == "FIFO":
        os.mkfifo(place)
    else:
        getattr(os, how)(image.victim, place)
    image.export()
    image.check()


@pytest.mark.parametrize("how", ["link", "FIFO"])
def test_a_blob_that_is_begun_already(image: Image, how: str) -> None:
    """By a hard link to something longer, which would be truncated, or a FIFO that nobody writes to."""
    place = image.partial(image.layer)
    if how == "FIFO":
        os.mkfifo(place)
    else:
        os.link(image.victim, place)
    image.export()
    image.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user: needs root")
def test_a_blob_that_somebody_else_has_open(image: Image) -> None:
    """Whose file it is can change it after it was verified, and renamed."""
    place = image.partial(image.layer)
    place.write_bytes(b"")
    os.chown(place, 12345, 12345)
    image.export()
    image.check()
    blob = Path(ContentStore(str(image.target)).path(image.layer.digest))
    assert blob.stat().st_uid == 0


def test_a_blob_that_is_a_symbolic_link(image: Image) -> None:
    """It is refused, as a blob that cannot be written."""
    image.partial(image.layer).symlink_to(image.victim)

    with pytest.raises(ImageError, match="cannot write"):
        image.export()
    assert image.victim.read_bytes() == b"the host's\n" * 1000
