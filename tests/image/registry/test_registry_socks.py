"""Through a SOCKS 5 proxy: what it is told, what it refuses."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from runjail.errors import RegistryError
from runjail.image.registry import socks
from tests.support.image.registry_client import Client
from tests.support.image.registry_server import Fake, Handler

pytestmark = pytest.mark.needs("loopback")


class Proxy:
    """One that connects everybody to one registry. refusal: a status instead; user: whom it wants, "" for anybody."""

    def __init__(self, registry: str) -> None:
        host, _, port = registry.rpartition(":")
        self._registry, self.refusal, self.user = (host, int(port)), 0, b""
        self.asked: list[tuple[str, int]] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb", 0) as stream:
            methods = stream.read(stream.read(2)[1])
            connection.sendall(b"\5\2" if self.user and 2 in methods else b"\5\xff" if self.user else b"\5\0")
            if self.user:
                if 2 not in methods:
                    return
                user = stream.read(stream.read(2)[1])
                password = stream.read(stream.read(1)[0])
                connection.sendall(b"\1\0" if user + b":" + password == self.user else b"\1\1")
            head = stream.read(4)
            if len(head) < 4:
                return
            name = stream.read(stream.read(1)[0]).decode() if head[3] == socks.NAME else stream.read(4).hex()
            self.asked.append((name, struct.unpack(">H", stream.read(2))[0]))
            connection.sendall(bytes((5, self.refusal, 0, 1, 0, 0, 0, 0, 0, 0)))
            if not self.refusal:
                with socket.create_connection(self._registry) as further:
                    threading.Thread(target=_pipe, args=(connection, further), daemon=True).start()
                    _pipe(further, connection)

    def stop(self) -> None:
        self._socket.close()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy(fake: Fake) -> Iterator[Proxy]:
    running = Proxy(fake.host)
    yield running
    running.stop()


@pytest.fixture
def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Client]]:
    """Return a client of registry.test, by way of the proxy with this scheme and user."""
    monkeypatch.setattr("runjail.image.registry.endpoint.Endpoint._probe", lambda self: "http://registry.test:5000")
    made: list[Client] = []

    def make(prefix: str) -> Client:
        environ = {"ALL_PROXY": f"{prefix}127.0.0.1:{proxy.port}"}
        made.append(Client("registry.test:5000", insecure=True, environ=environ))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5"])
def test_the_proxy_is_told_the_name(scheme: str, fake: Fake, proxy: Proxy, through: Callable[[str], Client]) -> None:
    """It is never looked up here; what is sent to the registry is what it gets without a proxy."""
    top = fake.add_image("v1", b"x" * 1000)
    assert through(f"{scheme}://").source().top() == top
    assert proxy.asked == [("registry.test", 5000)]
    assert fake.server.seen[0][1] == "/v2/library/web/manifests/v1"


def test_who_we_are(fake: Fake, proxy: Proxy, through: Callable[[str], Client]) -> None:
    top = fake.add_image("v1", b"x")
    proxy.user = b"bob:pa ss"
    assert through("socks5://bob:pa%20ss@").source().top() == top


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("", "the proxy wants to know who we are in another way"),
        ("bob:s3cret@", "the proxy does not take our user name and password"),
    ],
)
def test_nobody_it_knows(user: str, text: str, proxy: Proxy, through: Callable[[str], Client]) -> None:
    proxy.user = b"bob:right"
    with pytest.raises(RegistryError, match=text) as caught:
        through(f"socks5://{user}").source().top()
    assert "s3cret" not in str(caught.value)


def test_a_refusal(proxy: Proxy, through: Callable[[str], Client]) -> None:
    """The cause is said as the proxy says it."""
    proxy.refusal = 2
    with pytest.raises(RegistryError, match="the proxy: its rules do not allow it"):
        through("socks5://").source().top()


def test_what_a_url_says() -> None:
    assert socks.read("socks5://p.test") == socks.Socks("p.test", 1080)
    assert socks.read("socks5h://a:b%3A@p.test:80/") == socks.Socks("p.test", 80, "a", "b:")
    with pytest.raises(ValueError, match="more than 255 bytes"):
        socks.read(f"socks5://{'a' * 256}:b@p.test")


def test_many_headers(fake: Fake) -> None:
    """Go's clients count bytes of headers, so registries behind several proxies may send more than 100."""
    top = fake.add_image("v1", b"x")

    def answer(request: Handler) -> None:
        many = {f"X-{number}": "y" for number in range(200)}
        request.head(200, Content_Type=top.media_type, Content_Length=str(top.size), **many)
        request.wfile.write(fake.manifests["v1"][1])

    fake.fault("GET", "/manifests/", answer)
    client = Client(fake.host)
    assert client.source().top() == top
    client.close()
