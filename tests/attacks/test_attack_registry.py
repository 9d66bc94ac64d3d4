"""Registries that want secrets told to somebody else: redirects, challenges, links and uploads that point elsewhere.

Every attack has a registry that we have credentials for, and a trap, which notes all that it is sent. The positive
control is in the same test: the registry itself was told the secret.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runjail.errors import ImageError
from tests.support.image.registry_server import Fake, Handler, Server, described, make_certificate, run

pytest.importorskip("urllib3", reason="needs urllib3")
from runjail.image.registry.credentials import Credentials
from tests.support.image.registry_client import Client, put

pytestmark = pytest.mark.needs("loopback")

CONTENT = b"content" * 100
ALICE = Credentials("alice", "s3cret", origin="a file")
IDENTITY = Credentials("alice", identity_token="long-lived", origin="a file")
READY = Credentials(registry_token="ready-made", origin="a file")
SECRETS = (ALICE.basic, "s3cret", "long-lived", IDENTITY.basic, "ready-made", "tok3n")


class Trap:
    """A server of somebody else's. told: path, headers and body of each request, as text.

    answer: what it says; not found, if nothing else.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.told: list[str] = []
        self.answer: Callable[[Handler], None] = lambda request: request.reply(404)
        self.server = Server(self._note, certificate)
        self.host = self.server.host

    def _note(self, request: Handler) -> None:
        self.told.append(f"{request.path} {dict(request.headers)} {request.body!r}")
        self.answer(request)

    def learnt(self) -> list[str]:
        """Return the secrets that it was told."""
        return [secret for secret in SECRETS if any(secret in text for text in self.told)]

    def stop(self) -> None:
        self.server.stop()


@pytest.fixture
def trap() -> Iterator[Trap]:
    yield from run(Trap())


Make = Callable[..., Client]


def demand_basic(request: Handler) -> bool:
    if request.route == "/v2/" or request.headers.get("Authorization"):
        return False
    request.reply(401, WWW_Authenticate='Basic realm="x"')
    return True


def demand_token(realm: str) -> Callable[[Handler], bool]:
    """Return a fault: whoever has no token is sent to a token server."""

    def apply(request: Handler) -> bool:
        if request.route == "/v2/" or request.headers.get("Authorization"):
            return False
        request.reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')
        return True

    return apply


# One URL, two readings (CVE-2020-15157's neighbours; Orange Tsai, "A New Era of SSRF", 2017) --------------------------

TWO_READINGS = [
    "http://{trap}\\@{own}/x",
    "//{trap}\\@{own}/x",
    "HTTP://{trap}\\@{own}/x?a=b",
    "http://{trap}\\x@{own}",
]


@contextmanager
def refused(fake: Fake, trap: Trap, why: str) -> Iterator[None]:
    """Expect an error; whoever was meant has seen the password, and the other registry nothing at all."""
    with pytest.raises(ImageError, match=why):
        yield
    assert trap.told == []
    assert ALICE.basic in fake.server.sent("Authorization")


@pytest.mark.parametrize("location", TWO_READINGS)
def test_redirect_that_parsers_read_differently(fake: Fake, trap: Trap, client_of: Make, location: str) -> None:
    fake.faults.append(demand_basic)
    blob = fake.add(CONTENT)
    named = location.format(trap=trap.host, own=fake.host)
    fake.fault("GET", "/blobs/", lambda request: request.reply(307, Location=named))

    with refused(fake, trap, "redirected to .*, refused"):
        client_of(fake.host, ALICE).blob(blob)


@pytest.mark.parametrize("location", TWO_READINGS)
def test_upload_that_parsers_read_differently(fake: Fake, trap: Trap, client_of: Make, location: str) -> None:
    fake.faults.append(demand_basic)
    named = location.format(trap=trap.host, own=fake.host)
    fake.fault("POST", "/uploads/", *[lambda request: request.reply(202, Location=named)] * 9)

    with refused(fake, trap, "an upload without a location that can be used"):
        put(client_of(fake.host, ALICE).sink(), described(CONTENT), CONTENT)


@pytest.mark.parametrize("location", TWO_READINGS)
def test_next_page_that_parsers_read_differently(fake: Fake, trap: Trap, client_of: Make, location: str) -> None:
    fake.faults.append(demand_basic)
    link = f'<{location.format(trap=trap.host, own=fake.host)}>; rel="next"'
    fake.fault("GET", "/tags/list", lambda request: request.reply(200, b'{"tags": ["a"]}', Link=link))

    with refused(fake, trap, "next page"):
        client_of(fake.host, ALICE).registry.tags("library/web")


def test_realm_that_parsers_read_differently(fake: Fake, trap: Trap, client_of: Make, far_away: None) -> None:
    """A plain realm is taken on the registry's own host, when that was asked for: it has to be that host."""
    own = fake.host.replace("127.0.0.1", "localhost")
    fake.faults.append(demand_token(f"http://{trap.host}\\\\@{own}/token"))
    client = client_of(own, ALICE, insecure=True)

    with pytest.raises(ImageError) as caught:
        client.source().top()
    assert trap.told == []
    assert re.search("token server .* refused", str(caught.value))

    token_server = Trap()
    token_server.answer = lambda request: request.reply(200, b'{"token": "tok3n"}')
    fake.add_image("v1", CONTENT)
    fake.faults[:] = [demand_token(f"http://{token_server.host.replace('127.0.0.1', 'localhost')}/token")]
    client_of(own, ALICE, insecure=True).source().top()
    assert token_server.learnt() == [ALICE.basic]
    token_server.stop()


def test_token_server_that_sends_on(fake: Fake, trap: Trap, client_of: Make) -> None:
    """A token server's redirect is read like a registry's."""
    token_server = Trap()
    token_server.answer = lambda request: request.reply(302, Location=f"http://{trap.host}\\@{token_server.host}/x")
    fake.faults.append(demand_token(f"http://{token_server.host}/token"))

    with pytest.raises(ImageError) as caught:
        client_of(fake.host, ALICE).source().top()
    assert trap.told == []
    assert re.search("redirected to .*, refused", str(caught.value))
    assert token_server.learnt() == [ALICE.basic]
    token_server.stop()


# Challenges of others (CVE-2020-15157: containerd's credential leak by foreign layers) --------------------------------


def challenge_of(trap: Trap) -> None:
    """Let a trap demand that a token is got from it, and hand one out."""

    def answer(request: Handler) -> None:
        if request.route == "/token":
            request.reply(200, b'{"token": "tok3n"}')
        else:
            request.reply(401, WWW_Authenticate=f'Bearer realm="http://{trap.host}/token",service="s"')

    trap.answer = answer


ASKING: dict[str, Callable[[Client], object]] = {
    "blob": lambda client: client.blob(described(CONTENT)),
    "manifest": lambda client: client.source().top(),
    "tags": lambda client: client.registry.tags("library/web"),
}


@pytest.mark.parametrize("credentials", [ALICE, IDENTITY], ids=["password", "identity token"])
@pytest.mark.parametrize("what", ASKING)
def test_challenge_of_a_host_that_was_redirected_to(
    fake: Fake, trap: Trap, client_of: Make, credentials: Credentials, what: str
) -> None:
    """It answers 401 with a realm of its own. Nobody asked it who may read the registry."""
    fake.add_image("v1", CONTENT)
    challenge_of(trap)
    there = [lambda request: request.reply(307, Location=f"http://{trap.host}/x")] * 9
    for part in ("/blobs/", "/manifests/", "/tags/"):
        fake.fault("GET", part, *there)
    client = client_of(fake.host, credentials)

    with pytest.raises(ImageError) as caught:
        ASKING[what](client)
    assert trap.learnt() == []
    assert re.search("401", str(caught.value))
    assert [text.partition(" ")[0] for text in trap.told] == ["/x"]

    own = Trap()
    challenge_of(own)
    fake.faults[:] = [demand_token(f"http://{own.host}/token")]
    fake.fault("GET", "/tags/", lambda request: request.reply(200, b'{"tags": []}'))
    ASKING[what](client)
    assert own.learnt()
    own.stop()


def test_challenge_after_our_own(fake: Fake, trap: Trap, client_of: Make) -> None:
    """The registry has had its token; a host that it then redirects to does not get one more."""
    blob = fake.add(CONTENT)
    challenge_of(trap)
    own = Trap()
    challenge_of(own)
    fake.faults.append(demand_token(f"http://{own.host}/token"))
    fake.fault("GET", "/blobs/", *[lambda request: request.reply(307, Location=f"http://{trap.host}/x")] * 9)

    with pytest.raises(ImageError) as caught:
        client_of(fake.host, ALICE).blob(blob)
    assert trap.learnt() == []
    assert re.search("401", str(caught.value))
    assert own.learnt() == [ALICE.basic]
    assert "Bearer tok3n" in fake.server.sent("Authorization")
    own.stop()


def test_challenge_of_an_upload_elsewhere(fake: Fake, trap: Trap, client_of: Make) -> None:
    challenge_of(trap)
    fake.faults.append(demand_basic)
    fake.fault("POST", "/uploads/", lambda request: request.reply(202, Location=f"http://{trap.host}/upload"))
    client = client_of(fake.host, ALICE)

    with pytest.raises(ImageError) as caught:
        put(client.sink(), described(CONTENT), CONTENT)
    assert trap.learnt() == []
    assert re.search("401", str(caught.value))
    assert "/upload" in trap.told[0]
    assert ALICE.basic in fake.server.sent("Authorization")


def test_registry_token_stays_at_its_registry(fake: Fake, trap: Trap, client_of: Make) -> None:
    """Away and back again: a redirect back does not bring the secret with it."""
    blob = fake.add(CONTENT)
    fake.faults.append(demand_token(f"http://{fake.host}/token"))
    fake.fault("GET", "/blobs/", *[lambda request: request.reply(307, Location=f"http://{trap.host}/x")] * 9)
    back = f"http://{fake.host}/v2/library/web/blobs/{blob.digest}?back"
    trap.answer = lambda request: request.reply(302, Location=back)

    with pytest.raises(ImageError) as caught:
        client_of(fake.host, READY).blob(blob)
    assert trap.learnt() == []
    assert re.search("401", str(caught.value))
    assert "Bearer ready-made" in fake.server.sent("Authorization")
    asked = zip(fake.server.calls(), fake.server.sent("Authorization"), strict=True)
    assert {secret for (_method, path), secret in asked if path.endswith("?back")} == {None}


def test_mirror_is_told_no_secret_of_the_registry(
    fake: Fake, trap: Trap, client_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its challenge is answered with what is filed under its own name."""
    from runjail.image.registry.credentials import CredentialStore

    keys = tmp_path / "auth.json"
    keys.write_text(json.dumps({"auths": {fake.host: {"username": "alice", "password": "s3cret"}}}))
    own = Trap()
    challenge_of(own)
    challenge_of(trap)
    top = fake.add_image("v1", CONTENT)
    fake.faults.append(demand_token(f"http://{own.host}/token"))
    client = client_of(fake.host, mirrors=[f"http://{trap.host}"], keyring=CredentialStore(str(keys), {}))

    assert client.source().top() == top
    assert trap.told and trap.learnt() == ["tok3n"]  # its own token, which it handed out to anybody
    assert own.learnt() == [ALICE.basic]
    own.stop()


# Less safe than the registry ----------------------------------------------------------------------------------------


def test_secrets_do_not_leave_https(client_of: Make, trap: Trap, far_away: None, tmp_path: Path) -> None:
    """A registry that was reached by https names a token server by http, on its own host: that is read on the way."""
    pytest.importorskip("cryptography", reason="needs cryptography")
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(make_certificate()[2])
    secure = Fake(certificate)
    secure.add_image("v1", CONTENT)
    secure.faults.append(demand_token(f"http://{trap.host}/token"))
    client = client_of(secure.host, ALICE, insecure=True)

    with pytest.raises(ImageError) as caught:
        client.source().top()
    assert trap.told == []
    assert re.search("token server .* refused", str(caught.value))

    own = Trap(certificate)
    challenge_of(own)
    secure.faults[:] = [demand_token(f"https://{own.host}/token")]
    client.source().top()
    assert own.learnt() == [ALICE.basic]
    own.stop()
    secure.stop()
