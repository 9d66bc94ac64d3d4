"""Pulling manifests, and what a client does that is asked to wait."""

import json
from collections.abc import Callable

import pytest

from runjail.errors import Corrupt, ImageError, RegistryError
from runjail.image import media_types, model
from tests.support.image.registry_client import CONTENT, chunked
from tests.support.image.registry_server import Fake, Handler, described, digest_of

pytest.importorskip("urllib3", reason="needs urllib3")
from tests.support.image.registry_client import Client

pytestmark = pytest.mark.needs("loopback")


def test_top_and_documents(fake: Fake, client: Client) -> None:
    """The top manifest is asked for once; a config is a blob."""
    top = fake.add_image("v1", CONTENT)
    source = client.source()

    assert source.top() == top
    manifest = model.parse_manifest(source.document(source.top()))
    assert isinstance(manifest, model.Manifest)
    assert digest_of(source.document(manifest.config)) == manifest.config.digest
    assert len(fake.server.calls("GET", "/manifests/v1")) == 1
    assert len(fake.server.calls("GET")) == 2


def test_index(fake: Fake, client: Client) -> None:
    """An index names manifests by digest, which are asked for as manifests."""
    inner = fake.add_image("inner", CONTENT)
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [inner.document()]}
    ).encode()
    fake.manifests["v1"] = (f"{media_types.OCI_INDEX}; charset=utf-8", content)
    source = client.source()

    assert source.top() == described(content, media_types.OCI_INDEX)
    assert digest_of(source.document(inner)) == inner.digest
    assert fake.server.calls("GET")[-1] == ("GET", f"/v2/library/web/manifests/{inner.digest}")
    assert all(kind in (fake.server.sent("Accept")[0] or "") for kind in (*media_types.MANIFESTS, *media_types.INDEXES))


def manifest_answer(content: bytes, kind: str = media_types.OCI_MANIFEST, **headers: str) -> Callable[[Handler], None]:
    return lambda request: request.reply(200, content, Content_Type=kind, **headers)


def test_manifest_with_another_digest(fake: Fake, client: Client) -> None:
    """By digest it is compared with that, by tag with what the registry says."""
    top = fake.add_image("v1", CONTENT)
    other = fake.manifests["v1"][1] + b"\n"
    fake.fault("GET", "/manifests/", manifest_answer(other))
    with pytest.raises(Corrupt, match="content has digest"):
        client.source(top.digest).top()

    fake.fault("GET", "/manifests/", manifest_answer(other, Docker_Content_Digest=top.digest))
    with pytest.raises(Corrupt, match=f"library/web:v1: content has digest {digest_of(other)}"):
        client.source().top()


@pytest.mark.parametrize("change", [b"\n", b""])
def test_document_of_another_size_or_digest(fake: Fake, client: Client, change: bytes) -> None:
    top = fake.add_image("v1", CONTENT)
    content = fake.manifests["v1"][1]
    fake.fault("GET", "/manifests/", manifest_answer(content + change if change else content[:-1] + b" "))

    with pytest.raises(Corrupt, match=f"{top.size + 1} bytes, not {top.size}" if change else "content has digest"):
        client.source().document(top)


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "application/octet-stream"])
def test_vague_content_type(fake: Fake, client: Client, kind: str) -> None:
    """The body says what it is where the server does not know."""
    top = fake.add_image("v1", CONTENT)
    fake.fault("GET", "/manifests/", manifest_answer(fake.manifests["v1"][1], kind))

    assert client.source().top() == top


def test_content_type_against_body(fake: Fake, client: Client) -> None:
    fake.add_image("v1", CONTENT)
    fake.fault("GET", "/manifests/", manifest_answer(fake.manifests["v1"][1], media_types.DOCKER_MANIFEST))
    with pytest.raises(Corrupt, match=r"announced as application/vnd\.docker"):
        client.source().top()

    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    fake.fault("GET", "/manifests/", manifest_answer(fake.manifests["v1"][1], old))
    with pytest.raises(ImageError, match=r"manifest\.v1\+prettyjws is not supported"):
        client.source().top()


def test_manifest_without_end(fake: Fake, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is read up to a limit, with a length and without one."""
    monkeypatch.setattr(model, "LARGEST", 100_000)
    fake.fault("GET", "/manifests/", lambda request: chunked(request, *[b"x" * 10_000] * 11))
    fake.fault("GET", "/manifests/", manifest_answer(b"x" * 100_001))
    for _ in range(2):
        with pytest.raises(RegistryError, match="longer than 100000 bytes"):
            client.source().top()

    with pytest.raises(Corrupt, match="longer than"):
        client.source().document(described(b"").replace(size=100_001))


def test_manifest_that_breaks(fake: Fake, client: Client) -> None:
    """A document whose connection breaks is asked for again."""
    top = fake.add_image("v1", CONTENT)

    def half(request: Handler) -> None:
        request.head(200, Content_Length=str(top.size), Content_Type=media_types.OCI_MANIFEST)
        request.wfile.write(b"{")
        request.cut()

    fake.fault("GET", "/manifests/", half, lambda request: request.cut(), lambda request: request.reply(503))

    assert client.source().top() == top
    assert len(client.slept) == 3


# Being asked to wait ----------------------------------------------------------------------------------------------


def test_retry_after(fake: Fake, client: Client) -> None:
    """The server's own time is kept, in seconds and as a date."""
    top = fake.add_image("v1", CONTENT)
    past = "Fri, 31 Dec 1999 23:59:59 GMT"
    fake.fault(
        "GET", "/manifests/",
        lambda request: request.refuse(429, "TOOMANYREQUESTS", "slow down", Retry_After="7"),
        lambda request: request.refuse(503, "UNAVAILABLE", "soon", Retry_After=past),
    )  # fmt: skip

    assert client.source().top() == top
    assert client.slept == [7, 0]


def test_retry_after_a_day(fake: Fake, client: Client) -> None:
    """Nobody waits for a day; the error says how long it would be."""
    fake.fault("GET", "", lambda request: request.refuse(429, "TOOMANYREQUESTS", "come back", Retry_After="86400"))

    with pytest.raises(RegistryError, match=r"come back \(TOOMANYREQUESTS\): try again in 86400 s") as caught:
        client.source().top()
    assert caught.value.status == 429
    assert client.slept == []


def test_always_failing(fake: Fake, client: Client) -> None:
    """Attempts are bounded, and the last refusal is told."""
    fake.fault("GET", "", *[lambda request: request.refuse(502, "UNKNOWN", "behind: permission denied")] * 9)

    with pytest.raises(RegistryError, match=r"502 Bad Gateway: behind: access refused \(UNKNOWN\)$") as caught:
        client.source().top()
    assert caught.value.status == 502
    assert len(fake.server.calls()) == 6


def test_registry_that_goes_away(fake: Fake, client: Client) -> None:
    """One that has answered before and now refuses connections may come back; it is waited for."""
    blob = fake.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.reply(200, CONTENT, Connection="close"))
    client.blob(blob)
    fake.stop()

    with pytest.raises(RegistryError, match=r"[Cc]onnection refused"):
        client.blob(blob)
    assert len(client.slept) == 5


@pytest.mark.parametrize("status", [400, 403, 405, 418, 501])
def test_final_refusals(fake: Fake, client: Client, status: int) -> None:
    """What will not change is not tried again."""
    fake.fault("GET", "", lambda request: request.reply(status, b"<html>"))

    with pytest.raises(RegistryError, match=str(status)) as caught:
        client.source().top()
    assert caught.value.status == status
    assert client.slept == []
