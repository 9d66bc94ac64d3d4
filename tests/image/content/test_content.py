"""The store's content: what is in it is whole and verified, whatever happens to those who write it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt, ImageError, ImageNotFound
from runjail.image import media_types
from runjail.image.content.layout import LayoutDirectory
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.blobs import BLOB, DATA, HALF, blob_file, files
from tests.support.image.images import digest_of

TOP = Path(__file__).resolve().parents[3]


def run(program: str, *args: str) -> "subprocess.Popen[bytes]":
    """Start a Python program that uses runjail."""
    environment = {"PYTHONPATH": str(TOP), "PATH": os.environ["PATH"]}
    return subprocess.Popen([sys.executable, "-c", program, *args], stdout=subprocess.PIPE, env=environment)


def test_it_is_a_layout_that_others_can_read(content: ContentStore) -> None:
    entry = content.add(b"{}", media_types.OCI_MANIFEST)
    content.tag("example.org/a:1", entry)

    assert LayoutDirectory(content.directory).find("example.org/a:1").digest == entry.digest
    assert os.stat(content.directory).st_mode & 0o777 == 0o700, "images hold secrets"
    assert json.loads(Path(content.directory, "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0"


def test_a_blob_is_whole_or_not_there(content: ContentStore) -> None:
    with content.ingest(BLOB) as blob:
        assert (blob.offset, blob.complete) == (0, False)
        blob.write(DATA[:1000])
        assert not content.has(BLOB.digest)
        blob.write(DATA[1000:])

    assert content.has(BLOB.digest)
    assert content.size(BLOB.digest) == BLOB.size
    assert content.read(BLOB) == DATA
    assert files(content) == {blob_file(BLOB.digest)}
    with content.ingest(BLOB) as again:
        assert again.complete


def test_a_blob_that_was_cut_is_fetched_again(content: ContentStore) -> None:
    with content.ingest(BLOB) as blob:
        blob.write(DATA)
    os.truncate(content.path(BLOB.digest), 1000)

    with content.ingest(BLOB) as blob:
        assert (blob.offset, blob.complete) == (0, False)
        blob.write(DATA)
    assert content.read(BLOB) == DATA
    assert files(content) == {blob_file(BLOB.digest)}


def test_a_wrong_announcement_does_not_harm_a_blob(content: ContentStore) -> None:
    """Anybody can write a manifest that names our blob with another size."""
    with content.ingest(BLOB) as blob:
        blob.write(DATA)
    with pytest.raises(Corrupt, match="longer than"), content.ingest(BLOB.replace(size=5)) as blob:
        blob.write(DATA)

    assert content.read(BLOB) == DATA
    assert files(content) == {blob_file(BLOB.digest)}


def test_wrong_content_is_refused_and_leaves_nothing(content: ContentStore) -> None:
    with pytest.raises(Corrupt, match="content has digest"), content.ingest(BLOB) as blob:
        blob.write(DATA[:-1] + b"x")

    assert files(content) == set()


def test_more_than_was_announced_is_refused_before_it_is_stored(content: ContentStore) -> None:
    with pytest.raises(Corrupt, match="longer than"), content.ingest(BLOB) as blob:
        blob.write(DATA)
        assert os.path.getsize(blob.partial) == BLOB.size
        blob.write(b"x")

    assert files(content) == set()


def test_what_an_error_of_the_source_leaves_is_resumed(content: ContentStore) -> None:
    with pytest.raises(ConnectionError), content.ingest(BLOB) as blob:
        blob.write(DATA[:5000])
        raise ConnectionError
    with content.ingest(BLOB) as blob:
        assert blob.offset == 5000
        blob.write(DATA[5000:])

    assert content.read(BLOB) == DATA


def test_a_source_that_ends_too_early_leaves_nothing(content: ContentStore) -> None:
    with pytest.raises(Corrupt, match=f"ends after 6000 of {BLOB.size}"), content.ingest(BLOB) as blob:
        blob.write(DATA[:6000])

    assert files(content) == set()


def test_a_partial_file_that_is_too_long_is_begun_anew(content: ContentStore) -> None:
    partial = Path(content.directory, "ingest", BLOB.digest.replace(":", "-"))
    partial.parent.mkdir()
    partial.write_bytes(DATA + b"more")

    with content.ingest(BLOB) as blob:
        assert blob.offset == 0
        blob.write(DATA)
    assert content.read(BLOB) == DATA


KILLED = """
import sys, time
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
content = ContentStore(sys.argv[1])
with content.ingest(Descriptor("", sys.argv[2], int(sys.argv[3]))) as blob:
    blob.write(bytes(range(256)) * 100)
    print("half", flush=True)
    time.sleep(60)
"""


def test_after_sigkill_the_rest_is_fetched(content: ContentStore) -> None:
    child = run(KILLED, content.directory, BLOB.digest, str(BLOB.size))
    assert child.stdout and child.stdout.readline() == b"half\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    assert not content.has(BLOB.digest)
    with content.ingest(BLOB) as blob:
        assert blob.offset == 25600, "the lock of the dead is gone, its bytes are not"
        blob.write(DATA[blob.offset :])
    assert content.read(BLOB) == DATA


def test_processes_that_fetch_the_same_blob_all_find_it_whole(content: ContentStore) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_ingest, [content.directory] * 8) == [True] * 8

    assert content.read(BLOB) == DATA
    assert files(content) == {blob_file(BLOB.digest)}


def _ingest(directory: str) -> bool:
    content = ContentStore(directory)
    with content.ingest(BLOB) as blob:
        for at in range(blob.offset, BLOB.size if not blob.complete else 0, 100_000):
            blob.write(DATA[at : at + 100_000])
    return content.has(BLOB.digest)


def test_who_waits_for_another_writer_can_give_up(content: ContentStore) -> None:
    class GaveUp(Exception):
        pass

    def check() -> None:
        raise GaveUp

    with content.ingest(BLOB) as first:
        with pytest.raises(GaveUp), content.ingest(BLOB, check):
            pass
        first.write(DATA)


def test_who_waited_finds_what_the_other_wrote(content: ContentStore) -> None:
    waiting, found = threading.Event(), []

    def second() -> None:
        with content.ingest(BLOB, waiting.set) as blob:
            found.append((blob.complete, blob.offset))

    with content.ingest(BLOB) as first:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(120)
        first.write(DATA)
    thread.join(120)

    assert found == [(True, BLOB.size)]


@pytest.mark.needs("linux", "mounts")
def test_a_full_disk_is_one_error_and_the_space_comes_back(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], check=True)
    try:
        content = ContentStore(str(small / "content"))
        with pytest.raises(ImageError, match=f"{BLOB.size} bytes do not fit on the disk"), content.ingest(BLOB):
            pass
        assert files(content) == set()
        with pytest.raises(ImageError, match="no space left"), content.ingest(HALF) as blob:
            (small / "meanwhile").write_bytes(bytes(300 << 10))
            blob.write(DATA[: HALF.size])
        assert files(content) == set()
        (small / "meanwhile").unlink()
        content.tag("still", content.add(b"{}"))
        with pytest.raises(OSError), open(small / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with pytest.raises(ImageError, match="no space left"):
            content.tag("n" * 5000, content.add(b""))
        assert list(content.names()) == ["still"], "the old index is as it was"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_partial_file_that_another_finished_is_not_written_again(content: ContentStore) -> None:
    """Between opening it and the lock, its writer may have made a blob of it."""
    late = content.ingest(BLOB)
    late.fd = late._open()
    _ingest(content.directory)

    assert not late._locked()
    os.close(late.fd)


def test_temporary_files_become_blobs_or_go_away(content: ContentStore) -> None:
    with content.temporary() as file:
        os.write(file.fd, b"made here")
        content.commit_file(file, digest_of(b"made here"))
    with content.temporary() as file:
        os.write(file.fd, b"forgotten")

    assert files(content) == {blob_file(digest_of(b"made here"))}


def test_a_layout_of_another_version_is_refused(tmp_path: Path) -> None:
    ContentStore(str(tmp_path / "new"))
    (tmp_path / "new" / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}', encoding="utf-8")

    with pytest.raises(ImageError, match=r"version 1\.0\.0"):
        ContentStore(str(tmp_path / "new"))


def test_it_may_be_reached_by_a_link(tmp_path: Path) -> None:
    ContentStore(str(tmp_path / "real"))
    (tmp_path / "link").symlink_to("real")

    content = ContentStore(str(tmp_path / "link"))
    content.tag("x", content.add(b"{}"))

    assert list(ContentStore(str(tmp_path / "real")).names()) == ["x"]


def test_a_file_in_its_place_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ImageError):
            ContentStore(str(path))


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [_link, os.mkfifo, os.mkdir], ids=["link", "fifo", "directory"])
def test_what_is_no_file_is_no_blob(content: ContentStore, make: Any) -> None:
    """Nothing is followed, and nothing hangs."""
    path = Path(content.path(BLOB.digest))
    path.parent.mkdir(parents=True)
    make(path)

    assert not content.has(BLOB.digest)
    with pytest.raises(ImageError):
        content.open(BLOB.digest)
    with pytest.raises(ImageError):
        content.read(BLOB)


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:" + "A" * 64, "../x", "sha256:" + "0" * 63 + "/", ""])
def test_digests_do_not_become_paths(content: ContentStore, digest: str) -> None:
    with pytest.raises(ImageError, match="not a digest"):
        content.path(digest)
    with pytest.raises(ImageError), content.ingest(Descriptor("", digest, 1)):
        pass


def test_documents_are_verified_when_they_are_read(content: ContentStore) -> None:
    entry = content.add(b"document")
    with pytest.raises(Corrupt, match="not 7 bytes"):
        content.read(entry.replace(size=7))
    with pytest.raises(Corrupt, match="too long"):
        content.read(entry.replace(size=1 << 40))
    Path(content.path(entry.digest)).write_bytes(b"d0cument")
    with pytest.raises(Corrupt, match="digest"):
        content.read(entry)
    with pytest.raises(ImageNotFound):
        content.read(BLOB)
