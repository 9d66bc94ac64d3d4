"""Registries that never come to an end: sizes, heads, bodies, trailers, lists without bound, uploads that nobody reads.

Each attack is made on a client whose time-outs are tenths of seconds. It has to end, soon, in an error that says what
was wrong, and leave nothing behind; the same client then gets an honest answer of the same server.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageError
from runjail.image import media_types
from runjail.image.content.copy import copy_in, parts
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.attacks.soon import SOON, soon
from tests.support.image.registry_server import Fake, Handler, described, digest_of

pytest.importorskip("urllib3", reason="needs urllib3")
from runjail.image.registry.connections import Timeouts
from tests.support.image.registry_client import Client, put

pytestmark = pytest.mark.needs("loopback")

CONTENT = bytes(range(256)) * 64


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    client = Client(fake.host, timeouts=Timeouts(0.5, 0.5, 0.5))
    yield client
    client.close()


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when an attack has to end because the test does."""
    event = threading.Event()
    yield event
    event.set()


def flood(over: threading.Event, start: bytes, more: bytes, pause: float = 0.0) -> Callable[[Handler], None]:
    """Return an answer that starts somehow and goes on with the same as long as anybody listens."""

    def answer(request: Handler) -> None:
        request.close_connection = True
        try:
            request.wfile.write(start)
            while not over.is_set():
                request.wfile.write(more)
                request.wfile.flush()
                time.sleep(pause)
        except OSError:
            pass

    return answer


def left_behind(content: ContentStore) -> list[str]:
    return [name for _path, _inner, files in os.walk(content.directory) for name in files if name[0] not in "io"]


# Sizes --------------------------------------------------------------------------------------------------------------


def manifest_of(layer: Descriptor, fake: Fake) -> None:
    """Let the registry have an image whose only layer is announced like this."""
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer.digest]}}).encode()
    fake.blobs[digest_of(config)] = config
    document = {"config": described(config, media_types.OCI_CONFIG).document(), "layers": [layer.document()]}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, **document}).encode()
    fake.manifests["v1"] = fake.manifests[digest_of(manifest)] = (media_types.OCI_MANIFEST, manifest)


@pytest.mark.parametrize("size", [1 << 62, (1 << 63) - 1])
def test_blob_larger_than_any_disk(
    fake: Fake, client: Client, over: threading.Event, tmp_path: Path, size: int
) -> None:
    """It is refused before its first byte is asked for: a disk that is filled up hurts everybody else."""
    sent = 0

    def endless(request: Handler) -> None:
        nonlocal sent
        request.head(200, Content_Length=str(size))
        while sent < 64 << 20 and not over.is_set():  # enough to be seen, in a test that goes wrong
            request.wfile.write(bytes(1 << 20))
            sent += 1 << 20
        request.cut()

    layer = Descriptor(media_types.OCI_LAYER, digest_of(b"?"), size)
    manifest_of(layer, fake)
    fake.fault("GET", layer.digest, *[endless] * 9)
    content = ContentStore(str(tmp_path / "content"))

    error = soon(lambda: copy_in(client.source(), content, "web"))

    assert isinstance(error, ImageError)
    assert f"{size} bytes do not fit on the disk" in str(error)
    assert sent == 0
    manifest = fake.manifests["v1"][1]
    whole = (digest_of(manifest), json.loads(manifest)["config"]["digest"])  # small, proved, and kept for another try
    assert set(left_behind(content)) <= {digest.partition(":")[2] for digest in whole}
    assert content.names() == {}

    manifest_of(fake.add(CONTENT), fake)
    copy_in(client.source(), content, "web")
    assert list(content.names()) == ["web"]


@pytest.mark.parametrize("length", ["-5", "x"])
def test_lengths_that_are_none(fake: Fake, client: Client, over: threading.Event, tmp_path: Path, length: str) -> None:
    """With a body that does not end: what is read is bounded by what the descriptor announces."""
    manifest_of(fake.add(CONTENT), fake)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    fake.fault("GET", digest_of(CONTENT), *[flood(over, head, bytes(65536))] * 9)
    content = ContentStore(str(tmp_path / "content"))

    assert isinstance(soon(lambda: copy_in(client.source(), content, "web")), ImageError)
    assert digest_of(CONTENT).partition(":")[2] not in "".join(left_behind(content))
    assert content.names() == {}


def test_manifests_without_end() -> None:
    """Each of an index's documents may be large; together they have a limit."""
    config = described(b"{}", media_types.OCI_CONFIG).document()
    large = json.dumps({"schemaVersion": 2, "config": config, "layers": [], "filler": "x" * (4 << 20)}).encode()
    names = [f"sha256:{number:064x}" for number in range(100)]
    entries = [{"mediaType": media_types.OCI_MANIFEST, "size": len(large), "digest": name} for name in names]
    asked = 0

    def read(descriptor: Descriptor) -> bytes:
        nonlocal asked
        asked += 1
        return large if descriptor.digest in names else json.dumps({"manifests": entries}).encode()

    with pytest.raises(Corrupt, match="manifests are longer than 64 MiB together"):
        parts(read, Descriptor(media_types.OCI_INDEX, digest_of(b""), 1))
    assert asked == 17

    del entries[10:]
    assert len(parts(read, Descriptor(media_types.OCI_INDEX, digest_of(b""), 1)).documents) == 11


# Heads ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints", "199 Odd"])
def test_interim_answers_without_end(fake: Fake, client: Client, over: threading.Event, status: str) -> None:
    blob = fake.add(CONTENT)
    interim = f"HTTP/1.1 {status}\r\nLink: </x>\r\n\r\n".encode()
    fake.fault("GET", "/blobs/", flood(over, b"", interim))

    error = soon(lambda: client.blob(blob))

    assert "more than 16 interim answers" in str(error)
    assert len(fake.server.calls("GET", blob.digest)) == 1

    def honest(request: Handler) -> None:
        request.wfile.write(interim * 3)
        request.reply(200, CONTENT)

    fake.fault("GET", "/blobs/", honest)
    assert client.blob(blob) == CONTENT


def test_interim_answer_with_endless_headers(fake: Fake, client: Client, over: threading.Event) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", flood(over, b"HTTP/1.1 103 Early Hints\r\n", b"X: y\r\n"))

    assert "an interim answer with endless headers" in str(soon(lambda: client.blob(blob)))
    assert client.blob(blob) == CONTENT


# Bodies ---------------------------------------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "more", "pause"),
    [
        (CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(CONTENT) - 1, CONTENT[:-1]), b"X: y\r\n", 0.0),
        (CHUNKED, b"0", 0.05),
        (CHUNKED + b"5;x=", b"y", 0.05),
    ],
    ids=["endless trailers", "a chunk's size that drips", "a chunk's extension that drips"],
)
def test_bytes_that_belong_to_no_body(
    fake: Fake, client: Client, over: threading.Event, start: bytes, more: bytes, pause: float
) -> None:
    """Something arrives all the time, and never a byte of the blob."""
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", flood(over, start, more, pause))
    found: list[bytes] = []

    assert soon(lambda: found.append(client.blob(blob))) is None
    assert found == [CONTENT]
    assert len(client.slept) == 1


def test_refusal_without_end(fake: Fake, client: Client, over: threading.Event) -> None:
    """The body of an answer that nobody wants is not waited for."""
    blob = fake.add(CONTENT)
    head = b"HTTP/1.1 307 See there\r\nLocation: " + f"http://{fake.host}/v2/library/web/blobs/".encode()
    head += blob.digest.encode() + b"?there\r\nTransfer-Encoding: chunked\r\n\r\n"
    fake.fault("GET", "/blobs/", flood(over, head, b"1\r\nx\r\n", 0.05))
    slow = Client(fake.host, timeouts=Timeouts(30, 30, 30))
    found: list[bytes] = []

    assert soon(lambda: found.append(slow.blob(blob))) is None
    assert found == [CONTENT]
    slow.close()


# Uploads --------------------------------------------------------------------------------------------------------------


def test_upload_that_nobody_reads(fake: Fake, over: threading.Event) -> None:
    """Also on a connection that was used before, with more patience."""
    content = bytes(32 << 20)  # more than the kernel keeps for somebody who does not read
    client = Client(fake.host, timeouts=Timeouts(0.5, 60, 60))
    sink = client.sink()
    assert put(sink, described(CONTENT), CONTENT)

    def deaf(request: Handler) -> None:
        request.reply(202, Location=f"{request.route}deaf?_state=a%2Fb")
        request.close_connection = False
        over.wait(SOON * 3)  # the connection stays open, and this thread does not read what comes next
        request.close_connection = True

    fake.fault("POST", "/uploads/", *[deaf] * 9)
    error = soon(lambda: put(sink, described(content), content))

    assert "no answer in time" in str(error)
    assert set(fake.blobs) == {digest_of(CONTENT)}
    client.close()
