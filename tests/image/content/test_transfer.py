"""Images into the content and out of it: all of an image or nothing, each blob once, resumed where it stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import ImageError, RegistryError
from runjail.image import model, parallel
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.images import FREEBSD, LINUX, Layout, digest_of
from tests.support.image.transfers import everything, source
from tests.support.leaks import Held

TOP = Path(__file__).resolve().parents[3]


class Watched(LayoutSource):
    """A source that counts what is asked of it, and can fail. fail: called with a blob's digest and block number."""

    def __init__(self, layout: Layout, tag: str = "", fail: Callable[[str, int], None] = lambda _d, _n: None) -> None:
        super().__init__(str(layout.path), tag)
        self.fail, self.asked = fail, Counter[tuple[str, int]]()

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.asked[descriptor.digest, offset] += 1
        whole = b"".join(super().blob(descriptor, offset))
        for number, at in enumerate(range(0, len(whole), 64)):
            self.fail(descriptor.digest, number)
            yield whole[at : at + 64]


def test_an_image_comes_in_whole_and_is_named(layout: Layout, content: ContentStore) -> None:
    layout.image("web", [{"a": "1"}, {"b": "2"}, {"a": "1"}])
    seen: Counter[str] = Counter()

    top = copy_in(source(layout, "web"), content, "n", progress=lambda blob, count: seen.update({blob.digest: count}))

    assert content.find("n").digest == top.digest
    assert everything(content, top) == set(content.digests()), "nothing else either"
    assert len(seen) == 3, "two layers, one of them twice in the image, and the config"
    assert all(content.size(digest) == count for digest, count in seen.items())


def test_one_platform_of_an_index_or_all_of_them(layout: Layout, content: ContentStore) -> None:
    linux, freebsd = layout.image(None, [{"l": "1"}]), layout.image(None, [{"f": "1"}], platform=FREEBSD)
    index = layout.index("both", [linux, freebsd])

    one = copy_in(source(layout), content, "one", platforms=[FREEBSD, LINUX])
    assert one.digest == freebsd.digest
    assert linux.digest not in content.digests()
    assert copy_in(source(layout), content, "all").digest == index.digest
    assert {linux.digest, freebsd.digest} <= everything(content, index)


def test_what_is_there_is_not_fetched(layout: Layout, content: ContentStore) -> None:
    layout.image("a", [{"shared": "1"}])
    layout.image("b", [{"shared": "1"}, {"own": "2"}])
    copy_in(source(layout, "a"), content, "a")
    second = Watched(layout, "b")
    told: Counter[str] = Counter()

    top = copy_in(second, content, "b", progress=lambda blob, count: told.update({blob.digest: count}))

    manifest = model.parse_manifest(content.read(top))
    assert isinstance(manifest, model.Manifest)
    assert {digest for digest, _ in second.asked} == {manifest.layers[1].digest, manifest.config.digest}
    assert told[manifest.layers[0].digest] == manifest.layers[0].size, "progress counts it as arrived"


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_first_error_stops_all_and_names_nothing(layout: Layout, content: ContentStore, jobs: int) -> None:
    layout.image("web", [{"f": os.urandom(2000)} for _ in range(6)])
    victim = model.parse_manifest(source(layout).document(source(layout).top())).layers[2].digest  # type: ignore[union-attr]

    def fail(digest: str, number: int) -> None:
        if digest == victim and number == 3:
            raise RegistryError("the line is dead")

    failing = Watched(layout, fail=fail)
    before = Held()
    with pytest.raises(RegistryError, match="the line is dead"):
        copy_in(failing, content, "n", jobs=jobs)

    assert content.names() == {}
    assert before.more() == []
    retry = Watched(layout)
    copy_in(retry, content, "n")
    assert (victim, 192) in retry.asked, "three blocks were here already"


def test_damage_in_what_an_interrupted_try_left_is_repaired(layout: Layout, content: ContentStore) -> None:
    top = layout.image("web", compression="")
    layer = model.parse_manifest(source(layout).document(top)).layers[0]  # type: ignore[union-attr]
    partial = Path(content.directory, "ingest", layer.digest.replace(":", "-"))
    partial.parent.mkdir()
    partial.write_bytes(bytes(1000))  # as a power failure leaves it
    watched = Watched(layout)

    copy_in(watched, content, "n")

    assert watched.asked[layer.digest, 1000] == watched.asked[layer.digest, 0] == 1
    assert everything(content, top)


def _flip(layout: Layout, digest: str) -> None:
    data = bytearray(layout.file(digest).read_bytes())
    data[len(data) // 2] ^= 1
    layout.file(digest).write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["manifest", "config", "layer", "missing", "short"])
def test_a_damaged_source_is_refused_and_leaves_nothing_but_whole_blobs(
    layout: Layout, content: ContentStore, what: str
) -> None:
    top = layout.image("web", [{"f": os.urandom(500)}], compression="")
    manifest = model.parse_manifest(source(layout).document(top))
    assert isinstance(manifest, model.Manifest)
    layer = manifest.layers[0].digest
    if what == "missing":
        layout.file(layer).unlink()
    elif what == "short":
        layout.file(layer).write_bytes(layout.file(layer).read_bytes()[:-1])
    else:
        _flip(layout, {"manifest": top.digest, "config": manifest.config.digest, "layer": layer}[what])

    with pytest.raises(ImageError) as caught:
        copy_in(source(layout), content, "n")

    assert "\n" not in str(caught.value)
    assert content.names() == {}
    for digest in content.digests():
        assert digest_of(Path(content.path(digest)).read_bytes()) == digest
    assert list(Path(content.directory).glob("ingest/*")) == []


def test_what_is_no_image_is_refused(layout: Layout, content: ContentStore) -> None:
    layout.name("odd", layout.blob(b"{}", "application/vnd.example"))

    with pytest.raises(ImageError, match=r"application/vnd\.example is no image"):
        copy_in(source(layout), content, "n")


def test_an_index_may_name_what_nobody_knows(layout: Layout, content: ContentStore) -> None:
    odd = layout.blob(b"odd", "application/vnd.example")
    layout.index("x", [layout.image(None), odd])

    copy_in(source(layout), content, "n")

    assert content.has(odd.digest)


PULL = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
from runjail.image.content.store import ContentStore
from runjail.image.content.oci_layout import LayoutSource
from runjail.image.content.copy import copy_in
class Slow(LayoutSource):
    def blob(self, descriptor, offset=0):
        for block in super().blob(descriptor, offset):
            yield block[:len(block) // 2]
            print("busy", flush=True)
            time.sleep(600)
try:
    copy_in(Slow(sys.argv[1]), ContentStore(sys.argv[2]), "n")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_copy_ends_at_once_and_is_resumed(
    layout: Layout, content: ContentStore, number: signal.Signals
) -> None:
    layout.image("web", [{"f": os.urandom(3000)}], compression="")
    environment = {"PYTHONPATH": str(TOP)}
    child = subprocess.Popen(
        [sys.executable, "-c", PULL, str(layout.path), content.directory], stdout=subprocess.PIPE, env=environment
    )
    assert child.stdout
    with child.stdout as out:
        for _ in range(2):
            assert out.readline() == b"busy\n"
        child.send_signal(number)
        try:
            child.wait(120)
        finally:
            child.kill()
        assert out.read() == (b"interrupted\n" if number == signal.SIGINT else b"")

    assert content.names() == {}
    resumed = Watched(layout)
    copy_in(resumed, content, "n")
    assert all(offset > 0 for _, offset in resumed.asked)
    assert everything(content, content.find("n"))


def test_eight_copies_of_overlapping_images_at_once(layout: Layout, content: ContentStore) -> None:
    shared = [{f"f{number}": os.urandom(5000)} for number in range(4)]
    tops = {f"i{number}": layout.image(f"i{number}", [*shared, {"own": str(number)}]) for number in range(8)}
    threads = [
        threading.Thread(target=copy_in, args=(source(layout, name), ContentStore(content.directory), name))
        for name in tops
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: entry.digest for name, entry in content.names().items()} == {n: t.digest for n, t in tops.items()}
    for top in tops.values():
        assert everything(content, top)
    assert content.garbage_collect() == ([], 0)


def test_a_collection_meanwhile_spares_the_image(layout: Layout, content: ContentStore, tmp_path: Path) -> None:
    top = layout.image("web", [{"a": "1"}, {"b": "2"}])
    other = ContentStore(content.directory)

    def garbage_collect(_digest: str, _number: int) -> None:
        assert other.garbage_collect() == ([], 0)

    copy_in(Watched(layout, fail=garbage_collect), content, "n", jobs=1)
    content.untag("n")

    class Sink(LayoutSink):
        def has(self, descriptor: Descriptor) -> bool:
            garbage_collect("", 0)
            return super().has(descriptor)

    copy_out(content, top, Sink(str(tmp_path / "out")))
    assert everything(ContentStore(str(tmp_path / "out")), top)
    assert len(other.garbage_collect()[0]) == 4


def test_the_first_failure_of_parallel_work_ends_all_and_is_the_one_reported() -> None:
    started, ended = threading.Barrier(3), []

    def fails(_check: Any) -> None:
        started.wait(120)
        raise ImageError("first")

    def follows(check: Any) -> None:
        started.wait(120)
        end = time.monotonic() + 120
        try:
            while time.monotonic() < end:
                check()
        except parallel.Stopped:
            ended.append("stopped")
            raise ImageError("an echo") from None

    with pytest.raises(ImageError, match="first"):
        parallel.run([fails, follows, follows, fails], 3)
    assert ended == ["stopped"] * 2


def test_what_is_done_meanwhile_sees_tasks_end_one_by_one() -> None:
    done, seen = [threading.Event(), threading.Event()], list[int]()

    def meanwhile(wait: parallel.Wait) -> None:
        for number, event in enumerate(done):
            event.set()
            wait(number)
            seen.append(number)

    parallel.run([lambda _check, event=event: event.wait(60) for event in done], 2, meanwhile)  # type: ignore[misc]

    assert seen == [0, 1]


def test_a_failure_of_what_is_done_meanwhile_ends_the_tasks() -> None:
    begun, ended = threading.Event(), threading.Event()

    def task(check: Any) -> None:
        begun.set()
        try:
            while True:
                check()
                time.sleep(0.001)
        finally:
            ended.set()

    def meanwhile(_wait: parallel.Wait) -> None:
        assert begun.wait(60)
        raise ImageError("no room")

    with pytest.raises(ImageError, match="no room"):
        parallel.run([task, task], 1, meanwhile)
    assert ended.wait(60)
