"""Pushing to a registry that fails in every way."""

import tempfile
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageError, RegistryError
from runjail.image import media_types
from runjail.image.content.store import ContentStore
from tests.support.image.registry_server import Fake, Handler, described, image

pytest.importorskip("urllib3", reason="needs urllib3")
from runjail.image.registry.connections import Timeouts
from tests.support.image.registry_client import Client, put

pytestmark = pytest.mark.needs("loopback")

CONTENT = bytes(range(256)) * 4096  # 1 MiB
BLOB = described(CONTENT)


def test_blob(fake: Fake, client: Client) -> None:
    """One POST, one PUT with a length; the location's query is kept, and progress reaches the size."""
    sink = client.sink()
    assert not sink.has(BLOB)

    told = put(sink, BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert sink.has(BLOB)
    assert sum(told) == len(CONTENT)
    assert fake.server.calls("PUT")[0][1].startswith("/v2/library/web/blobs/uploads/0?_state=a%2Fb&digest=sha256%3A")
    headers = next(headers for method, _path, headers in fake.server.seen if method == "PUT")
    assert (headers["Content-Length"], headers["Content-Type"]) == (str(len(CONTENT)), "application/octet-stream")
    assert "Transfer-Encoding" not in headers


def test_blob_without_bytes(fake: Fake, client: Client) -> None:
    put(client.sink(), described(b""), b"")

    assert list(fake.blobs.values()) == [b""]


def test_has_compares_sizes(fake: Fake, client: Client) -> None:
    fake.blobs[BLOB.digest] = CONTENT[:-1]

    assert not client.sink().has(BLOB)


def test_absolute_location_without_query(fake: Fake, client: Client) -> None:
    def begin(request: Handler) -> None:
        fake.uploads["x"] = b""
        request.reply(202, Location=f"http://{fake.host}/elsewhere/uploads/x")

    def end(request: Handler) -> None:
        fake.blobs[request.query["digest"][0]] = request.body
        request.reply(201)

    fake.fault("POST", "/uploads/", begin)
    fake.fault("PUT", "/elsewhere/", end)
    put(client.sink(), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert "/elsewhere/uploads/x?digest=" in fake.server.calls("PUT")[0][1]


def half(request: Handler) -> None:
    """Take an upload and break."""
    request.cut()


def test_started_again_after_failures(fake: Fake, client: Client) -> None:
    """Each attempt is a new upload with everything; the old one is cancelled; progress counts once."""
    fake.fault("PUT", "/uploads/", half, lambda request: request.reply(500), lambda request: request.reply(404))
    told = put(client.sink(), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert sum(told) == len(CONTENT)
    assert min(told) > 0
    assert len(client.slept) == 3
    assert [len(fake.server.calls(method)) for method in ("POST", "PUT", "DELETE")] == [4, 4, 3]
    assert fake.uploads == {}


def test_given_up(fake: Fake, client: Client) -> None:
    """Nothing is left of an upload that fails for good."""
    fake.fault("PUT", "/uploads/", *[half] * 9)

    with pytest.raises(RegistryError, match=f"library/web@{BLOB.digest}"):
        put(client.sink(), BLOB, CONTENT)
    assert (fake.blobs, fake.uploads) == ({}, {})
    assert len(fake.server.calls("PUT")) == 6


def test_refused(fake: Fake, client: Client) -> None:
    fake.fault("POST", "/uploads/", lambda request: request.refuse(403, "DENIED", "read only"))

    with pytest.raises(RegistryError, match=r"403 Forbidden: read only \(DENIED\)") as caught:
        put(client.sink(), BLOB, CONTENT)
    assert caught.value.hint == f"there are no credentials for {fake.host} in {', '.join(client.keys.files)}"
    assert fake.server.calls("PUT") == []


def test_file_that_is_not_the_blob(fake: Fake, client: Client) -> None:
    """Other content is noticed before its last byte is sent, another size before the first."""
    with pytest.raises(Corrupt, match=r"the file has 1048575 bytes, not 1048576"):
        put(client.sink(), BLOB, CONTENT[:-1])
    assert fake.server.calls() == []

    with pytest.raises(Corrupt, match="the file has other content"):
        put(client.sink(), BLOB, CONTENT[:-1] + b"x")
    assert (fake.blobs, client.slept) == ({}, [])


def test_what_was_verified_here_is_not_hashed_again(
    fake: Fake, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came into the content in this process, e.g. by encryption, until somebody writes to it."""
    content = ContentStore(str(tmp_path / "content"))
    with content.ingest(BLOB) as blob:
        blob.write(CONTENT)
    with monkeypatch.context() as patch, content.reading(BLOB.digest) as file:
        patch.setattr("runjail.image.registry.request_body.digests.new", lambda _digest: pytest.fail("it was hashed"))
        known = content.is_verified(file, BLOB)
        client.sink().put_blob(BLOB, file, lambda _blob, _count: None, known=known)
    assert (known, fake.blobs) == (True, {BLOB.digest: CONTENT})

    Path(content.path(BLOB.digest)).write_bytes(CONTENT)
    with content.reading(BLOB.digest) as file:
        assert not content.is_verified(file, BLOB)


def test_file_that_shrinks(fake: Fake, client: Client) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.flush()
        fake.fault("POST", "/uploads/", lambda request: (file.truncate(1000), fake._begin(request))[1])

        with pytest.raises(Corrupt, match="the file became shorter"):
            client.sink().put_blob(BLOB, file.fileno(), lambda _blob, _count: None)


def test_registry_that_stores_something_else(fake: Fake, client: Client) -> None:
    fake.fault("PUT", "/uploads/", lambda request: request.reply(201, Docker_Content_Digest="sha256:" + "0" * 64))

    with pytest.raises(Corrupt, match=f"instead of {BLOB.digest}"):
        put(client.sink(), BLOB, CONTENT)


def test_upload_without_location(fake: Fake, client: Client) -> None:
    fake.fault("POST", "/uploads/", lambda request: request.reply(202))

    with pytest.raises(RegistryError, match="an upload without a location"):
        put(client.sink(), BLOB, CONTENT)


def test_redirected_upload(fake: Fake, client: Client) -> None:
    """Content is not sent where a redirect points to."""
    fake.fault("PUT", "/uploads/", lambda request: request.reply(307, Location="http://127.0.0.1:1/"))

    with pytest.raises(RegistryError, match=r"redirected to 'http://127\.0\.0\.1:1/', refused"):
        put(client.sink(), BLOB, CONTENT)


def test_location_elsewhere(fake: Fake, client: Client) -> None:
    """An upload is not sent on to plain http at another host."""
    fake.fault("POST", "/uploads/", lambda request: request.reply(202, Location="http://192.0.2.1/upload"))

    with pytest.raises(RegistryError, match=r"sent on to 'http://192\.0\.2\.1/upload', refused"):
        put(client.sink(), BLOB, CONTENT)


# Mounts -----------------------------------------------------------------------------------------------------------


def test_mount(fake: Fake, client: Client) -> None:
    fake.fault(
        "POST", f"?mount={BLOB.digest.replace(':', '%3A')}&from=library%2Fbase", lambda request: request.reply(201)
    )
    told = put(client.sink(("library/web", "library/base")), BLOB, CONTENT)

    assert sum(told) == len(CONTENT)
    assert len(fake.server.calls()) == 1


def test_mount_that_becomes_an_upload(fake: Fake, client: Client) -> None:
    """The session that comes instead of a mount is used; of several the last, and the others are cancelled."""
    put(client.sink(("library/base", "library/other")), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert [method for method, _path in fake.server.calls()] == ["POST", "DELETE", "POST", "PUT"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_mount_that_is_refused(fake: Fake, client: Client, status: int) -> None:
    """Then the blob is sent."""
    fake.fault("POST", "from=", lambda request: request.reply(status))
    put(client.sink(("library/base",)), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}


# Chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [405, 413, 501])
def test_chunks(fake: Fake, client: Client, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that does not take a blob at once gets it in pieces, and so the next one at once."""
    monkeypatch.setattr("runjail.image.registry.sink.CHUNK", 400_000)
    fake.fault("PUT", "/uploads/", lambda request: request.reply(status))
    sink = client.sink()
    told = put(sink, BLOB, CONTENT)
    put(sink, described(b"other"), b"other")

    assert fake.blobs == {BLOB.digest: CONTENT, described(b"other").digest: b"other"}
    assert sum(told) == len(CONTENT)
    ranges = [headers["Content-Range"] for method, _path, headers in fake.server.seen if method == "PATCH"]
    assert ranges == ["0-399999", "400000-799999", "800000-1048575", "0-4"]


def test_chunks_as_large_as_asked_for(fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runjail.image.registry.sink.CHUNK", 1000)
    fake.fault("PUT", "/uploads/", lambda request: request.reply(413))

    def begin(request: Handler) -> None:
        fake.uploads["x"] = b""
        request.reply(202, Location=f"{request.route}x?_state=a%2Fb", OCI_Chunk_Min_Length="600000")

    fake.fault("POST", "/uploads/", begin, begin)
    put(client.sink(), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert len(fake.server.calls("PATCH")) == 2


def test_chunk_that_breaks(fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then everything starts again."""
    monkeypatch.setattr("runjail.image.registry.sink.CHUNK", 400_000)
    fake.fault("PUT", "/uploads/", lambda request: request.reply(413))
    fake.faults.append(Once("PATCH", "/uploads/", 2))
    put(client.sink(), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert fake.uploads == {}


class Once:
    """A fault: the nth request of a kind breaks."""

    def __init__(self, method: str, part: str, number: int) -> None:
        self.method, self.part, self.left = method, part, number

    def __call__(self, request: Handler) -> bool:
        if request.command == self.method and self.part in request.path:
            self.left -= 1
            if self.left == 0:
                request.cut()
                return True
        return False


# Manifests --------------------------------------------------------------------------------------------------------


def test_manifests(fake: Fake, client: Client) -> None:
    """The top one goes under its tag, others under their digest, each with its media type."""
    _blobs, content = image(CONTENT)
    manifest = described(content, media_types.OCI_MANIFEST)
    sink = client.sink()
    sink.put_document(manifest, content, top=False)
    assert "v1" not in fake.manifests
    sink.put_document(manifest, content, top=True)

    assert fake.manifests == {
        "v1": (media_types.OCI_MANIFEST, content),
        manifest.digest: (media_types.OCI_MANIFEST, content),
    }
    assert [path.rpartition("/")[2] for _method, path in fake.server.calls("PUT")] == [manifest.digest, "v1"]


def test_manifest_is_tried_again(fake: Fake, client: Client) -> None:
    _blobs, content = image(CONTENT)
    fake.fault("PUT", "/manifests/", half, lambda request: request.reply(503, Retry_After="1"))
    client.sink().put_document(described(content, media_types.OCI_MANIFEST), content, top=True)

    assert fake.manifests["v1"][1] == content
    assert client.slept[1] == 1


def test_manifest_that_is_not_its_descriptor(fake: Fake, client: Client) -> None:
    _blobs, content = image(CONTENT)
    manifest = described(content, media_types.OCI_MANIFEST)
    for wrong in (content + b" ", content[:-1] + b" "):
        with pytest.raises(Corrupt):
            client.sink().put_document(manifest, wrong, top=True)
    assert fake.server.calls() == []


def test_manifest_refused(fake: Fake, client: Client) -> None:
    _blobs, content = image(CONTENT)
    refuse = "manifest references an unknown blob"
    fake.fault("PUT", "/manifests/", lambda request: request.refuse(404, "MANIFEST_BLOB_UNKNOWN", refuse))

    with pytest.raises(RegistryError, match=refuse):
        client.sink().put_document(described(content, media_types.OCI_MANIFEST), content, top=True)


def test_abort_leaves_no_name(fake: Fake, client: Client) -> None:
    sink = client.sink()
    put(sink, BLOB, CONTENT)
    sink.abort()

    assert fake.manifests == {}
    with pytest.raises(ImageError):
        sink.has(BLOB)


def test_slow_to_store(fake: Fake) -> None:
    """Storing a blob may take longer than any other answer."""
    import threading

    client = Client(fake.host, timeouts=Timeouts(5, 0.05, 5))
    pause = threading.Event()

    def slow(request: Handler) -> None:
        pause.wait(0.2)
        fake._upload(request, request.route.rpartition("/")[2])

    fake.fault("PUT", "/uploads/", slow)
    put(client.sink(), BLOB, CONTENT)

    assert fake.blobs == {BLOB.digest: CONTENT}
    assert client.slept == []
    client.close()
