"""The store's names: what others wrote stays, none is lost, and what no name leads to is collected."""

import json
import os
import threading
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageNotFound
from runjail.image.content.store import ContentStore
from tests.support.image.blobs import BLOB, DATA, HALF, blob_file, files
from tests.support.image.images import Layout


def test_what_others_wrote_into_the_index_stays(content: ContentStore) -> None:
    path = Path(content.directory, "index.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": {"a": "b"}, "unknown": [1]}))

    content.tag("x", content.add(b"{}"))

    found = json.loads(path.read_text())
    assert (found["annotations"], found["unknown"]) == ({"a": "b"}, [1])


def test_names_are_given_moved_and_taken_away(content: ContentStore) -> None:
    one, two = content.add(b"1", "a/b"), content.add(b"2", "a/b")
    content.tag("x", one)
    content.tag("y", one.replace(annotations={"k": "v"}))
    content.tag("x", two)

    assert {name: entry.digest for name, entry in content.names().items()} == {"y": one.digest, "x": two.digest}
    assert content.find("y").annotations == {"k": "v"}, "the name itself is not part of what it names"
    content.untag("x")
    assert list(content.names()) == ["y"]
    for absent in ("x", ""):
        with pytest.raises(ImageNotFound):
            content.untag(absent)
    with pytest.raises(ImageNotFound):
        content.tag("z", BLOB)
    assert list(content.names()) == ["y"]


def test_many_name_at_once_and_no_name_is_lost(content: ContentStore) -> None:
    entry = content.add(b"{}", "a/b")
    threads = [
        threading.Thread(target=ContentStore(content.directory).tag, args=(f"name{number}", entry))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(content.names()) == 20


def test_collect_removes_what_no_name_leads_to(tmp_path: Path, content: ContentStore) -> None:
    layout = Layout(tmp_path / "content2")
    kept = layout.index("kept", [layout.image(None, [{"a": "1"}]), layout.image(None, [{"a": "1"}, {"b": "2"}])])
    layout.image("gone", [{"a": "1"}, {"c": "3"}])
    extra = layout.blob(b"mine")
    content = ContentStore(str(layout.path))
    before = set(content.digests())
    content.untag("gone")

    removed, freed = content.garbage_collect(keep=[extra])

    assert len(removed) == 3, "manifest, config and one layer; the other layer is shared"
    assert freed > 0
    assert set(content.digests()) == before - set(removed)
    assert kept.digest in content.digests()
    assert extra.digest in content.digests()
    assert content.garbage_collect(keep=[extra]) == ([], 0)
    assert content.garbage_collect(among=[]) == ([], 0)
    assert content.garbage_collect(among=[extra.digest, BLOB.digest])[0] == [extra.digest]


def test_collect_spares_what_is_coming_in(content: ContentStore) -> None:
    young, old = content.add(b"young"), content.add(b"old")
    os.utime(content.path(old.digest), (0, 0))
    with content.lease():
        assert content.garbage_collect()[0] == [old.digest]
        assert content.has(young.digest)
    with content.temporary() as file, pytest.raises(ConnectionError), content.ingest(BLOB) as blob:
        os.utime(file.path, (0, 0))
        content.garbage_collect()
        assert os.path.exists(file.path)
        raise ConnectionError
    assert content.garbage_collect(grace=0)[0] == []
    assert not content.has(young.digest), "collected by the second call: nobody held the lease"
    assert not blob.complete
    assert files(content) == set()


def test_what_is_used_again_is_young_again(content: ContentStore) -> None:
    old = content.add(b"old")
    os.utime(content.path(old.digest), (0, 0))

    with content.lease():
        assert content.touch_if_present(old)
        assert content.garbage_collect()[0] == []
    assert not content.touch_if_present(BLOB)


def test_partial_files_are_kept_for_a_while(content: ContentStore) -> None:
    with pytest.raises(ConnectionError), content.ingest(BLOB) as blob:
        blob.write(DATA[:10])
        raise ConnectionError

    assert content.garbage_collect() == ([], 0)
    assert len(files(content)) == 1
    os.utime(blob.partial, (0, 0))
    assert content.garbage_collect() == ([], 10)
    assert files(content) == set()


def test_partial_files_go_at_once_when_that_is_asked_for(content: ContentStore) -> None:
    """By `prune --all`; but not while they are written."""
    with content.ingest(BLOB) as blob:
        blob.write(DATA[:10])
        assert content.garbage_collect(partial=True) == ([], 0)
        blob.write(DATA[10:])
    with pytest.raises(ConnectionError), content.ingest(HALF) as blob:
        blob.write(DATA[:10])
        raise ConnectionError

    content.tag("kept", BLOB)
    assert content.garbage_collect(partial=True) == ([], 10)
    assert files(content) == {blob_file(BLOB.digest)}


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b'{"manifests": 1}', b'{"manifests": [{}]}', b"\xff", b"[" * 100000]
)
def test_a_garbled_index_is_one_error(content: ContentStore, garbage: bytes) -> None:
    Path(content.directory, "index.json").write_bytes(garbage)

    for action in (
        content.names,
        lambda: content.find("x"),
        lambda: ContentStore(content.directory),
        content.garbage_collect,
    ):
        with pytest.raises(Corrupt, match=r"index\.json") as caught:
            action()
        assert "\n" not in str(caught.value)
    with pytest.raises(Corrupt):
        content.tag("x", content.add(b"{}"))
    assert Path(content.directory, "index.json").read_bytes() == garbage
