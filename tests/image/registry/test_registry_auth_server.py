"""Authorisation against a server: tokens that expire in the middle, a token server that is busy, plain or elsewhere."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from runjail.errors import RegistryError
from tests.support.image.registry_client import ALICE
from tests.support.image.registry_server import Fake, Handler, Server, run

pytestmark = pytest.mark.needs("loopback")


@pytest.fixture
def tokens() -> Iterator[Server]:
    """A token server whose tokens are numbered: t1, t2, ..."""

    def answer(request: Handler) -> None:
        request.reply(200, json.dumps({"token": f"t{len(request.server.seen)}"}).encode())

    yield from run(Server(answer))


def wants(realm: str, *tokens: str) -> Callable[[Handler], bool]:
    """Return a fault: whoever has none of these tokens is sent to the realm."""

    def apply(request: Handler) -> bool:
        if request.headers.get("Authorization") in [f"Bearer {token}" for token in tokens]:
            return False
        request.reply(401, b"x" * 100, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')
        return True

    return apply


def test_expiry_in_the_middle_of_a_pull(fake: Fake, tokens: Server) -> None:
    """A registry that does not take the first token any more gets a second one, and the blob goes on."""
    from tests.support.image.registry_client import Client

    content = b"x" * 100_000
    blob = fake.add(content)
    top = fake.add_image("v1", content)
    client = Client(fake.host)
    source = client.source()
    fake.faults.append(wants(f"http://{tokens.host}/token", "t1"))
    assert source.top() == top

    def half(request: Handler) -> None:
        request.head(200, Content_Length=str(len(content)))
        request.wfile.write(content[:50_000])
        fake.faults[0] = wants(f"http://{tokens.host}/token", "t2")
        request.cut()

    fake.fault("GET", "/blobs/", half)
    assert b"".join(source.blob(blob)) == content
    assert fake.server.sent("Authorization")[-3:] == ["Bearer t1", "Bearer t1", "Bearer t2"]
    assert len(tokens.seen) == 2
    client.close()


def test_expiry_in_the_middle_of_a_push(fake: Fake, tokens: Server) -> None:
    """The blob is sent again from its start, in the same upload, with a new token."""
    from tests.support.image.registry_client import Client, put
    from tests.support.image.registry_server import described

    content = b"x" * 100_000
    fake.faults.append(wants(f"http://{tokens.host}/token", "t1"))

    def begin(request: Handler) -> None:
        fake.faults[0] = wants(f"http://{tokens.host}/token", "t2")
        fake._begin(request)

    fake.fault("POST", "/uploads/", begin)
    client = Client(fake.host)
    put(client.sink(), described(content), content)

    assert fake.blobs[described(content).digest] == content
    assert [method for method, _path in fake.server.calls()] == ["POST", "POST", "PUT", "PUT"]
    scopes = [parse_qs(urlsplit(path).query)["scope"] for _method, path, _headers in tokens.seen]
    assert scopes == [["repository:library/web:pull,push"]] * 2
    client.close()


def test_mounting_asks_for_both_repositories(fake: Fake, tokens: Server) -> None:
    from tests.support.image.registry_client import Client, put
    from tests.support.image.registry_server import described

    fake.faults.append(wants(f"http://{tokens.host}/token", "t1", "t2"))
    client = Client(fake.host)
    put(client.sink(("library/base",)), described(b"x"), b"x")

    scopes = parse_qs(urlsplit(tokens.seen[0][1]).query)["scope"]
    assert scopes == ["repository:library/web:pull,push", "repository:library/base:pull"]
    client.close()


def test_token_server_that_is_busy(fake: Fake) -> None:
    """It is asked again, as long as it says."""
    from tests.support.image.registry_client import Client

    answers = [(429, b"", {"Retry_After": "3"}), (500, b"", {}), (200, b'{"token": "t1"}', {})]

    def answer(request: Handler) -> None:
        status, body, headers = answers.pop(0)
        request.reply(status, body, **headers)

    server = Server(answer)
    top = fake.add_image("v1", b"x")
    fake.faults.append(wants(f"http://{server.host}/token", "t1"))
    client = Client(fake.host)

    assert client.source().top() == top
    assert client.slept[0] == 3
    assert len(client.slept) == 2
    client.close()
    server.stop()


def test_plain_token_server_elsewhere(fake: Fake) -> None:
    """A registry on loopback may have its token server there, not at a plain address elsewhere; nothing is sent."""
    from tests.support.image.registry_client import Client

    fake.faults.append(wants("http://192.0.2.1/token"))
    client = Client(fake.host, ALICE)

    with pytest.raises(RegistryError, match=r"token server http://192\.0\.2\.1/token: refused"):
        client.source().top()
    client.close()


def test_credentials_that_are_wrong(fake: Fake) -> None:
    """The hint says where they come from; the error says nothing of them."""
    from tests.support.image.registry_client import Client

    server = Server(lambda request: request.reply(401, b'{"details": "incorrect"}'))
    fake.faults.append(wants(f"http://{server.host}/token"))
    client = Client(fake.host, ALICE)

    with pytest.raises(RegistryError, match=f"token server {server.host}: 401 Unauthorized: incorrect") as caught:
        client.source().top()
    assert caught.value.hint == "the credentials are those of a file"
    assert "s3cret" not in f"{caught.value}{caught.value.hint}{ALICE!r}"
    client.close()
    server.stop()
