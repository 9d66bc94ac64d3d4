"""Servers, schemes, redirects, mirrors and proxies: what goes where, and what does not."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail import log
from runjail.errors import Corrupt, ImageNotFound, RegistryError
from runjail.image import media_types
from runjail.image.content.copy import copy_in
from runjail.image.content.store import ContentStore
from tests.support.image.registry_server import Fake, Handler, Server, described, make_certificate, run

pytest.importorskip("urllib3", reason="needs urllib3")
from runjail.image.registry.client import Registry
from runjail.image.registry.credentials import Credentials
from tests.support.image.registry_client import Client

pytestmark = pytest.mark.needs("loopback")

CONTENT = b"content" * 100
ALICE = Credentials("alice", "s3cret", origin="a file")


@pytest.fixture
def other() -> Iterator[Fake]:
    yield from run(Fake())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    pytest.importorskip("cryptography", reason="needs cryptography")
    path = tmp_path / "certificate.pem"
    path.write_bytes(make_certificate()[2])
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Fake]:
    """A registry with a certificate that nobody knows."""
    yield from run(Fake(certificate))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)
    return said


Make = Callable[..., Client]


# Schemes ----------------------------------------------------------------------------------------------------------


def test_loopback_may_be_plain(fake: Fake, client_of: Make, warnings: list[str]) -> None:
    fake.add_image("v1", CONTENT)
    client_of(fake.host).source().top()

    assert warnings == []


def test_elsewhere_only_https(fake: Fake, client_of: Make, far_away: None) -> None:
    """Nothing is sent in the clear unless that was asked for."""
    fake.add_image("v1", CONTENT)
    client = client_of(fake.host, ALICE)

    with pytest.raises(RegistryError, match=f"GET https://{fake.host}.*TLS"):
        client.source().top()
    assert fake.server.seen == []


def test_plain_when_asked_for(fake: Fake, client_of: Make, far_away: None, warnings: list[str]) -> None:
    """It is said, once."""
    top = fake.add_image("v1", CONTENT)
    client = client_of(fake.host, insecure=True)

    assert client.source().top() == top
    assert warnings == [f"registry {fake.host}: plain http, as asked for"]


def test_unknown_certificate(secure: Fake, client_of: Make) -> None:
    """It is refused, even on loopback, where http is not an answer either."""
    secure.add_image("v1", CONTENT)

    with pytest.raises(RegistryError, match="TLS: self-signed certificate"):
        client_of(secure.host, ALICE).source().top()
    assert secure.server.seen == []


def test_unknown_certificate_when_asked_for(secure: Fake, client_of: Make, far_away: None, warnings: list[str]) -> None:
    top = secure.add_image("v1", CONTENT)

    assert client_of(secure.host, insecure=True).source().top() == top
    assert warnings == [f"registry {secure.host}: its certificate is not verified, as asked for"]


def test_certificates_of_the_environment(
    secure: Fake, certificate: Path, client_of: Make, far_away: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names those who sign."""
    top = secure.add_image("v1", CONTENT)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert client_of(secure.host).source().top() == top


def test_certificates_of_the_environment_on_loopback(
    secure: Fake, certificate: Path, client_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the server is asked without any authority first, for the sake of those that have no TLS."""
    top = secure.add_image("v1", CONTENT)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert client_of(secure.host).source().top() == top


@pytest.mark.parametrize("insecure", [False, True])
def test_nobody_reads_authorities_for_plain_http(
    fake: Fake, client_of: Make, insecure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are a file of 200 kB: most of what a small image costs."""
    monkeypatch.setattr(ssl, "create_default_context", lambda: pytest.fail("they were read"))
    top = fake.add_image("v1", CONTENT)

    assert client_of(fake.host, insecure=insecure).source().top() == top


def test_nobody_there(client_of: Make) -> None:
    """A refused connection is told at once."""
    server = Server(lambda request: request.reply(200))
    server.stop()
    client = client_of(server.host)

    with pytest.raises(RegistryError, match=f"registry {server.host}: library/web:v1: GET .*: [Cc]onnection refused"):
        client.source().top()
    assert client.slept == []


# Redirects --------------------------------------------------------------------------------------------------------


def demand_basic(request: Handler) -> bool:
    if request.route == "/v2/" or request.headers.get("Authorization"):
        return False
    request.reply(401, WWW_Authenticate='Basic realm="x"')
    return True


def test_redirect_elsewhere_without_secrets(fake: Fake, other: Fake, client_of: Make) -> None:
    """Another port is another server: it gets the request, and no Authorization."""
    blob = other.add(CONTENT)
    fake.faults.append(demand_basic)
    fake.fault(
        "GET", "/blobs/",
        lambda request: request.reply(307, Location=f"http://{other.host}{request.path}?signature=secret"),
    )  # fmt: skip

    assert client_of(fake.host, ALICE).blob(blob, 3) == CONTENT[3:]
    assert other.server.sent("Authorization") == [None]
    assert other.server.sent("Range") == ["bytes=3-"]
    assert fake.server.sent("Authorization") == [None, ALICE.basic]


def test_redirect_within_keeps_secrets(fake: Fake, client_of: Make) -> None:
    blob = fake.add(CONTENT)
    fake.faults.append(demand_basic)
    fake.fault("GET", "/library/", lambda request: request.reply(302, Location=f"/v2/moved/blobs/{blob.digest}"))

    assert client_of(fake.host, ALICE).blob(blob) == CONTENT
    assert fake.server.sent("Authorization") == [None, ALICE.basic, ALICE.basic]


def test_redirect_query_is_not_told(fake: Fake, other: Fake, client_of: Make) -> None:
    """The query of a redirect can be a key to the content."""
    blob = other.add(CONTENT)
    fake.fault("GET", "/blobs/", lambda request: request.reply(307, Location=f"http://{other.host}/x?signature=s3cret"))
    other.fault("GET", "/x", lambda request: request.refuse(418, "", "no"))

    with pytest.raises(RegistryError, match="418") as caught:
        client_of(fake.host).blob(blob)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["http://192.0.2.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://[x", "http://h:x/"]
)
def test_redirect_to_less_trusted(fake: Fake, client_of: Make, target: str) -> None:
    """Plain http away from loopback, and other schemes, are not followed."""
    fake.fault("GET", "/manifests/", lambda request: request.reply(302, Location=target))

    with pytest.raises(RegistryError, match=r"redirected to .*, refused"):
        client_of(fake.host).source().top()


def test_redirects_without_end(fake: Fake, client_of: Make) -> None:
    fake.fault("GET", "/manifests/", *[lambda request: request.reply(302, Location=request.path)] * 99)

    with pytest.raises(RegistryError, match="more than 10 redirects"):
        client_of(fake.host).source().top()
    assert len(fake.server.calls()) == 10


# Mirrors ----------------------------------------------------------------------------------------------------------


def test_mirror_first(fake: Fake, other: Fake, client_of: Make) -> None:
    """What a mirror has is not asked of the registry; its prefix stands before the repository."""
    top = other.add_image("v1", CONTENT)
    client = client_of(fake.host, mirrors=[f"{other.host}/proxy/hub"])

    assert client.source().top() == top
    assert fake.server.seen == []
    assert other.server.calls()[0][1] == "/v2/proxy/hub/library/web/manifests/v1"


def test_mirror_without_it(fake: Fake, other: Fake, client_of: Make, warnings: list[str]) -> None:
    """What a mirror does not have comes from the registry, silently, and the mirror is asked for the next thing."""
    top = fake.add_image("v1", CONTENT)
    blob = other.add(CONTENT)
    client = client_of(fake.host, mirrors=[other.host])

    assert client.source().top() == top
    assert client.blob(blob) == CONTENT
    assert fake.server.calls("GET", blob.digest) == []
    assert warnings == []


def test_mirror_that_breaks_in_the_middle(fake: Fake, other: Fake, client_of: Make, warnings: list[str]) -> None:
    """The registry goes on where the mirror stopped; a mirror that fails is not asked again."""
    blob = fake.add(CONTENT)

    def half(request: Handler) -> None:
        request.head(200, Content_Length=str(len(CONTENT)))
        request.wfile.write(CONTENT[:300])
        request.cut()

    other.fault("GET", "/blobs/", half, *[lambda request: request.cut()] * 9)
    client = client_of(fake.host, mirrors=[other.host])

    assert client.blob(blob) == CONTENT
    assert fake.server.sent("Range") == ["bytes=300-"]
    assert len(warnings) == 1
    assert client.blob(blob) == CONTENT
    assert len(other.server.calls()) == 2


def test_mirror_that_lies(fake: Fake, other: Fake, client_of: Make, warnings: list[str]) -> None:
    top = fake.add_image("v1", CONTENT)
    other.fault("GET", "/manifests/", lambda request: request.reply(200, b"{}", Content_Type=media_types.OCI_MANIFEST))

    assert client_of(fake.host, mirrors=[other.host]).source(top.digest).top() == top
    assert "content has digest" in warnings[0]


@pytest.mark.parametrize("start", [0, 300])
def test_mirror_with_a_wrong_byte(
    fake: Fake, other: Fake, client_of: Make, warnings: list[str], tmp_path: Path, start: int
) -> None:
    """The registry is asked for all of the blob, also when it went on where the mirror stopped."""
    layers = [CONTENT, CONTENT * 2, CONTENT * 3]
    fake.add_image("v1", *layers)
    other.add_image("v1", *layers)
    wrong = b"C" + CONTENT[1:]

    def lie(request: Handler) -> None:
        if start:
            request.head(200, Content_Length=str(len(wrong)))
            request.wfile.write(wrong[:start])
            request.cut()
        else:
            request.reply(200, wrong)

    digest = described(CONTENT).digest
    other.fault("GET", digest, *[lie] * 9)
    if start:
        other.fault("GET", digest, *[lambda request: request.cut()] * 9)
    client = client_of(fake.host, mirrors=[other.host])
    content = ContentStore(str(tmp_path / "content"))
    copy_in(client.source(), content, "web")

    assert content.intact(digest)
    assert any("mirror of" in text for text in warnings)
    assert fake.server.calls("GET", digest)


def test_registry_with_a_wrong_byte(fake: Fake, client_of: Make, tmp_path: Path) -> None:
    """Nobody else is there to be asked."""
    fake.add_image("v1", CONTENT)
    digest = described(CONTENT).digest
    fake.fault("GET", digest, *[lambda request: request.reply(200, b"C" + CONTENT[1:])] * 9)

    with pytest.raises(Corrupt, match="content has digest"):
        copy_in(client_of(fake.host).source(), ContentStore(str(tmp_path / "content")), "web")
    assert len(fake.server.calls("GET", digest)) == 1


def test_mirror_gets_its_own_credentials(fake: Fake, other: Fake, client_of: Make) -> None:
    """Those of the registry are not for its mirror."""
    other.faults.append(demand_basic)
    other.add_image("v1", CONTENT)
    client = client_of(fake.host, ALICE, mirrors=[f"{other.host}/hub"])
    client.source().top()

    assert client.keys.asked == [(other.host, "hub/library/web")]


def test_pushes_pass_mirrors(fake: Fake, other: Fake, client_of: Make) -> None:
    client = client_of(fake.host, mirrors=[other.host])
    client.sink().put_document(fake.add_image("x", CONTENT), fake.manifests["x"][1], top=True)

    assert "v1" in fake.manifests
    assert other.server.seen == []


def test_everything_fails(fake: Fake, other: Fake, client_of: Make) -> None:
    """Where the mirror fails, the registry's own error is the one that is reported."""
    with pytest.raises(ImageNotFound, match=f"{fake.host}/library/web:v1"):
        client_of(fake.host, mirrors=[other.host]).source().top()


# Tags and deleting ------------------------------------------------------------------------------------------------


def test_tags_in_pages(fake: Fake, client_of: Make) -> None:
    fake.fault("GET", "/tags/list", lambda request: request.reply(
        200, b'{"tags": ["a", "b"]}', Link='</v2/library/web/tags/list?last=b&n=2>; rel="next"'))  # fmt: skip
    fake.fault("GET", "/tags/list?last=b&n=2", lambda request: request.reply(200, b'{"tags": null}'))

    assert client_of(fake.host).registry.tags("library/web") == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": "x"}', b'{"tags": [1]}', b"[" * 9000])
def test_tags_that_are_none(fake: Fake, client_of: Make, body: bytes) -> None:
    fake.fault("GET", "/tags/list", lambda request: request.reply(200, body))

    with pytest.raises(RegistryError, match="library/web, its tags: the answer is not a list of tags"):
        client_of(fake.host).registry.tags("library/web")


def test_delete(fake: Fake, client_of: Make) -> None:
    top = fake.add_image("v1", CONTENT)
    client_of(fake.host).registry.delete_manifest("library/web", top.digest)

    assert list(fake.manifests) == ["v1"]


# Proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_through_a_proxy(
    fake: Fake, client_of: Make, far_away: None, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The proxy gets the whole URL, and its own password; the registry's name is never looked up here."""
    monkeypatch.setattr("runjail.image.registry.endpoint.Endpoint._probe", lambda self: "http://registry.test")
    top = fake.add_image("v1", CONTENT)
    environ = {"http_proxy": f"{scheme}://bob:pa%20ss@{fake.host}"}
    client = client_of("registry.test", insecure=True, environ=environ)

    assert client.source().top() == top
    assert fake.server.seen[0][1] == "http://registry.test/v2/library/web/manifests/v1"
    assert fake.server.sent("Proxy-Authorization") == ["Basic Ym9iOnBhIHNz"]


def test_proxy_that_cannot_be_used(client_of: Make) -> None:
    client = client_of("registry.test", environ={"HTTPS_PROXY": "ftp://bob:s3cret@localhost:1"})

    with pytest.raises(RegistryError, match="proxy ftp://localhost:1: cannot be used") as caught:
        client.source().top()
    assert "s3cret" not in str(caught.value)


def test_docker_hub_has_another_name() -> None:
    """docker.io is a name; the server is called otherwise."""
    registry = Registry("docker.io")

    assert registry.endpoint._find_base() == "https://registry-1.docker.io"
    registry.close()


def test_corrupt_documents_are_told_by_name(fake: Fake, client_of: Make) -> None:
    fake.manifests["v1"] = (media_types.OCI_MANIFEST, b"{}")

    with pytest.raises(Corrupt, match=r"^library/web:v1: neither"):
        client_of(fake.host).source().top()
