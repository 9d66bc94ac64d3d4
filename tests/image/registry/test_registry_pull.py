"""Pulling from a registry that fails in every way: the content is right in the end, or there is one clear error."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageNotFound, RegistryError
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from tests.support.image.registry_server import Fake, Handler, described, make_certificate

pytest.importorskip("urllib3", reason="needs urllib3")
from runjail.image.registry.connections import Timeouts
from tests.support.image.registry_client import CONTENT, Client, chunked

pytestmark = pytest.mark.needs("loopback")


# Blobs ----------------------------------------------------------------------------------------------------------


def breaking_after(count: int) -> Callable[[Handler], bool]:
    """Return a fault: every answer with a blob breaks after some bytes."""

    def apply(request: Handler) -> bool:
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if request.command != "GET" or "/blobs/" not in request.path or start + count >= len(CONTENT):
            return False
        said = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        request.head(206 if start else 200, Content_Length=str(len(CONTENT) - start), **said)
        request.wfile.write(CONTENT[start : start + count])
        request.cut()
        return True

    return apply


@pytest.mark.parametrize("count", [4000, 4096, 8191, 16383])
def test_breaks_in_the_middle(fake: Fake, client: Client, count: int) -> None:
    """The consumer sees one stream, whatever byte connections break at."""
    blob = fake.add(CONTENT)
    fake.faults.append(breaking_after(count))

    assert client.blob(blob) == CONTENT
    assert client.blob(blob, 5) == CONTENT[5:]
    assert len(client.slept) >= 1


def test_breaks_for_ever(fake: Fake, client: Client) -> None:
    """A server that gives a few bytes each time is given up."""
    blob = fake.add(CONTENT)
    fake.faults.append(breaking_after(10))

    with pytest.raises(RegistryError, match=f"library/web@{blob.digest}"):
        client.blob(blob)
    assert len(fake.server.calls("GET")) == 6
    assert len(client.slept) == 5


def test_waits_grow(fake: Fake, client: Client) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", *[lambda request: request.reply(500)] * 5)

    assert client.blob(blob) == CONTENT
    for wait, middle in zip(client.slept, (0.25, 0.5, 1, 2, 4), strict=True):
        assert middle / 2 <= wait <= middle * 1.5


def test_much_between_breaks(fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that bring a lot each may break as often as they like."""
    monkeypatch.setattr("runjail.image.registry.source.PROGRESS", 1000)
    blob = fake.add(CONTENT)
    fake.faults.append(breaking_after(1000))

    assert client.blob(blob) == CONTENT
    assert len(fake.server.calls("GET")) > 10


def test_everything_instead_of_the_rest(fake: Fake, client: Client) -> None:
    """A 200 where a 206 was asked for starts at the first byte."""
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.reply(200, CONTENT))

    assert client.blob(blob, 10_000) == CONTENT[10_000:]


@pytest.mark.parametrize(
    "said", ["", "bytes 0-16383/16384", "bytes 10-16383/99999", "bytes */16384", "bytes 100-1/16384"]
)
def test_content_range_that_lies(fake: Fake, client: Client, said: str) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.reply(206, CONTENT[10:], Content_Range=said))

    with pytest.raises(Corrupt, match=r"not bytes 10-16383/16384"):
        client.blob(blob, 10)


@pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_length_than_announced(fake: Fake, client: Client, length: int) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.head(200, Content_Length=str(length)))

    with pytest.raises(Corrupt, match=f"{length} bytes, not {len(CONTENT)}"):
        client.blob(blob)
    assert client.slept == []


def test_chunked(fake: Fake, client: Client) -> None:
    """Without a length, and broken in the middle."""
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: chunked(request, CONTENT[:5000], end=False))
    fake.fault("GET", "/blobs/", lambda request: chunked(request, CONTENT[:100], CONTENT[100:]))

    assert client.blob(blob) == CONTENT
    assert client.blob(blob) == CONTENT


def test_chunked_and_too_short(fake: Fake, client: Client) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", *[lambda request: chunked(request, CONTENT[:5000])] * 9)

    with pytest.raises(RegistryError, match=r"ends after 5000 of 16384 bytes"):
        client.blob(blob)


def test_endless_body(fake: Fake, client: Client) -> None:
    """Bytes after the announced size are an error, and are not read to their end."""
    blob = fake.add(CONTENT)
    broken = threading.Event()

    def endless(request: Handler) -> None:
        request.head(200, Transfer_Encoding="chunked")
        try:
            while True:
                request.wfile.write(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT))
        except OSError:
            broken.set()

    fake.fault("GET", "/blobs/", endless)

    with pytest.raises(Corrupt, match="longer than 16384 bytes"):
        client.blob(blob)
    assert broken.wait(120)


def test_encoded_content(fake: Fake, client: Client) -> None:
    """Nobody asked for gzip. Storage labels layers so, which are gzip; whoever receives a blob looks at its digest."""
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.reply(200, CONTENT, Content_Encoding="gzip"))
    fake.fault("GET", "/manifests/", lambda request: request.reply(200, CONTENT, Content_Encoding="gzip"))

    assert client.blob(blob) == CONTENT
    with pytest.raises(RegistryError, match="encoded as 'gzip', which nobody asked for"):
        client.source().top()
    assert set(fake.server.sent("Accept-Encoding")) == {"identity"}


@pytest.mark.parametrize("status", [400, 403, 405, 416, 501])
def test_ranges_that_are_refused(fake: Fake, client: Client, tmp_path: Path, status: int) -> None:
    """An interrupted pull goes on all the same, and so does one that breaks on the way; it is not tried again."""
    blob = fake.add(CONTENT)
    fake.faults.append(
        lambda request: bool(request.headers.get("Range")) and not request.refuse(status, "UNSUPPORTED", "no ranges")
    )
    assert client.blob(blob, 10_000) == CONTENT[10_000:]

    def half(request: Handler) -> None:
        request.head(200, Content_Length=str(len(CONTENT)))
        request.wfile.write(CONTENT[:300])
        request.cut()

    fake.fault("GET", "/blobs/", half, half)
    assert client.blob(blob) == CONTENT
    assert [said is None for said in fake.server.sent("Range")] == [False, True, True, False, True, True]

    content = ContentStore(str(tmp_path / "content"))
    with pytest.raises(KeyboardInterrupt), content.ingest(blob) as file:
        file.write(CONTENT[:500])
        raise KeyboardInterrupt
    with content.ingest(blob) as file:
        for block in client.source().blob(blob, file.offset):
            file.write(block)
    assert content.intact(blob.digest)


@pytest.mark.parametrize("status", [403, 416])
def test_refusals_that_have_nothing_to_do_with_ranges(fake: Fake, client: Client, status: int) -> None:
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", *[lambda request: request.refuse(status, "DENIED", "not yours")] * 2)

    with pytest.raises(RegistryError, match="not yours"):
        client.blob(blob, 10)
    assert len(fake.server.calls("GET")) == 2


def found_in_time(
    fake: Fake, client: Client, blob: Descriptor, begin: Callable[[Handler], None], slowly: bytes
) -> bytes:
    """Return the content of a blob whose first answer begins so, and goes on a byte at a time."""
    over = threading.Event()

    def drip(request: Handler) -> None:
        begin(request)
        for byte in slowly:
            if over.wait(0.02):
                break
            request.wfile.write(bytes([byte]))
            request.wfile.flush()

    fake.fault("GET", "/blobs/", drip)
    start = time.monotonic()
    found = client.blob(blob)
    over.set()
    assert time.monotonic() - start < 100  # all of it takes longer
    return found


def test_dripping(fake: Fake) -> None:
    """An answer of a few bytes a second is stuck, although each of them comes in time."""
    client = Client(fake.host, timeouts=Timeouts(5, 0.2, 5, 100_000))
    blob = fake.add(CONTENT)

    def begin(request: Handler) -> None:
        request.head(200, Content_Length=str(len(CONTENT)))

    assert found_in_time(fake, client, blob, begin, CONTENT) == CONTENT
    assert len(client.slept) == 1
    client.close()


def test_silence(fake: Fake) -> None:
    """A server that says nothing is not waited for longer than the time-out."""
    client = Client(fake.host, timeouts=Timeouts(5, 0.1, 5))
    blob = fake.add(CONTENT)
    over = threading.Event()
    fake.fault("GET", "/blobs/", *[lambda request: (over.wait(120), request.cut())[1]] * 6)

    with pytest.raises(RegistryError, match="no answer in time"):
        client.blob(blob)
    over.set()
    client.close()


@pytest.mark.parametrize("tls", [False, True])
def test_dripping_headers(tls: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The head of an answer has to come in time as a whole."""
    if tls:
        pytest.importorskip("cryptography", reason="needs cryptography")
        (tmp_path / "pem").write_bytes(make_certificate()[2])
    fake = Fake(tmp_path / "pem" if tls else None)
    request.addfinalizer(fake.stop)
    client = Client(fake.host, insecure=True, timeouts=Timeouts(5, 0.3, 5))
    blob = fake.add(CONTENT)
    head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000

    assert found_in_time(fake, client, blob, lambda _request: None, head) == CONTENT
    client.close()


def test_closing_ends_a_pull(fake: Fake) -> None:
    """A thread that waits for its next attempt gives up when another one closes the registry."""
    client = Client(fake.host, sleep=None)
    blob = fake.add(CONTENT)
    fake.fault(
        "GET", "/blobs/", *[lambda request: request.refuse(429, "TOOMANYREQUESTS", "slow", Retry_After="50")] * 9
    )
    caught: list[BaseException] = []

    def pull() -> None:
        try:
            client.blob(blob)
        except RegistryError as error:
            caught.append(error)

    thread = threading.Thread(target=pull)
    thread.start()
    while not fake.server.calls("GET"):
        time.sleep(0.005)
    client.close()
    thread.join(120)

    assert not thread.is_alive()
    assert str(caught[0]).endswith("given up")


def test_leaving_early(fake: Fake, client: Client) -> None:
    """A consumer may stop; the next blob is right."""
    blob, other = fake.add(CONTENT * 1000), fake.add(CONTENT)
    stream = client.source().blob(blob)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator is one kind of iterator

    assert client.blob(other) == CONTENT


def test_empty_blob_and_end(fake: Fake, client: Client) -> None:
    """Nothing is asked for what has no bytes."""
    assert client.blob(fake.add(b"")) == b""
    assert client.blob(fake.add(CONTENT), len(CONTENT)) == b""
    assert fake.server.calls() == []


def test_no_such_blob(fake: Fake, client: Client) -> None:
    blob = described(b"absent")
    with pytest.raises(
        ImageNotFound, match=f"^a part of the image does not exist: {fake.host}/library/web@{blob.digest}$"
    ):
        client.blob(blob)


def test_several_threads(fake: Fake, client: Client) -> None:
    """Eight threads pull different blobs through one registry."""
    blobs = [fake.add(bytes([number]) * 100_000) for number in range(8)]
    fake.fault("GET", "/blobs/", *[lambda request: request.cut()] * 4)
    source = client.source()
    found: dict[str, bytes] = {}

    def pull(blob: Descriptor) -> None:
        found[blob.digest] = b"".join(source.blob(blob))

    threads = [threading.Thread(target=pull, args=(blob,)) for blob in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert found == {blob.digest: fake.blobs[blob.digest] for blob in blobs}
