"""certs.d: whom a registry's certificate may come from, and who we are to it; beside skopeo."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import ImageError, RegistryError
from tests.support.image.registry_server import Fake, Handler, make_certificate, run

pytest.importorskip("urllib3", reason="needs urllib3")
pytest.importorskip("cryptography", reason="needs cryptography")
from runjail.image.registry import certificates
from runjail.image.registry.urls import parse
from tests.support.image.registry_client import Client

pytestmark = pytest.mark.needs("loopback")

CONTENT = b"content" * 100
Make = Callable[..., Client]


class Pair:
    """A certificate that signs itself, and its key. path: both, as PEM."""

    def __init__(self, path: Path) -> None:
        pem = make_certificate()[2]
        path.write_bytes(pem)
        self.path = path
        certificate, mark, key = pem.partition(b"-----BEGIN PRIVATE KEY-----")
        self.certificate, self.key = certificate, mark + key


class Home:
    """Somebody's certs.d."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, host: str, **named: bytes) -> Path:
        """Write files of a server, named ca_crt for ca.crt."""
        place = self.path / certificates.OWN / host
        place.mkdir(parents=True, exist_ok=True)
        for name, content in named.items():
            (place / name.replace("_", ".")).write_bytes(content)
        return place

    def client(self, client_of: Make, host: str, **more: object) -> Client:
        return client_of(host, environ={"HOME": str(self.path)}, **more)

    def skopeo(self, host: str) -> int:
        """Return how skopeo ends that reads an image there."""
        command = [shutil.which("skopeo") or "", "inspect", "--raw", f"docker://{host}/library/web:v1"]
        home = str(self.path)
        environ = {"HOME": home, "XDG_RUNTIME_DIR": home, "PATH": os.environ["PATH"]}  # auth.json is looked for in both
        return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=120).returncode


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def theirs(tmp_path: Path) -> Pair:
    return Pair(tmp_path / "server.pem")


@pytest.fixture
def ours(tmp_path: Path) -> Pair:
    return Pair(tmp_path / "client.pem")


@pytest.fixture
def secure(theirs: Pair) -> Iterator[Fake]:
    yield from run(Fake(theirs.path))


@pytest.fixture
def strict(theirs: Pair, ours: Pair) -> Iterator[Fake]:
    """A registry that wants to know who comes."""
    yield from run(Fake(theirs.path, ours.path))


@pytest.mark.parametrize("form", ["pem", "der"])
def test_an_authority(secure: Fake, theirs: Pair, home: Home, client_of: Make, far_away: None, form: str) -> None:
    """Nobody believes it before its directory is there; only that server is believed."""
    top = secure.add_image("v1", CONTENT)
    with pytest.raises(RegistryError, match="TLS"):
        home.client(client_of, secure.host).source().top()
    pem = theirs.certificate
    home.put(secure.host, ca_crt=pem if form == "pem" else ssl.PEM_cert_to_DER_cert(pem.decode()))

    assert home.client(client_of, secure.host).source().top() == top


def test_an_authority_of_a_registry_on_this_machine(secure: Fake, theirs: Pair, home: Home, client_of: Make) -> None:
    top = secure.add_image("v1", CONTENT)
    home.put(secure.host, ca_crt=theirs.certificate)

    assert home.client(client_of, secure.host).source().top() == top


@pytest.mark.parametrize("insecure", [False, True])
def test_a_client_certificate(
    strict: Fake, theirs: Pair, ours: Pair, home: Home, client_of: Make, far_away: None, insecure: bool
) -> None:
    top = strict.add_image("v1", CONTENT)
    home.put(strict.host, ca_crt=theirs.certificate)
    with pytest.raises(ImageError):
        home.client(client_of, strict.host).source().top()
    home.put(strict.host, client_cert=ours.certificate, client_key=ours.key)

    assert home.client(client_of, strict.host, insecure=insecure).source().top() == top


@pytest.mark.parametrize("known", [False, True])
def test_another_server_is_not_shown_it(
    secure: Fake, strict: Fake, theirs: Pair, ours: Pair, home: Home, client_of: Make, known: bool
) -> None:
    """One that we are redirected to; with a directory of its own it is. Both have one certificate here."""
    layer = strict.add(CONTENT)

    def redirect(handler: Handler) -> bool:
        if "/blobs/" in handler.path:
            handler.reply(307, location=f"https://{strict.host}{handler.path}")
        return "/blobs/" in handler.path

    secure.faults.append(redirect)
    home.put(secure.host, ca_crt=theirs.certificate, client_cert=ours.certificate, client_key=ours.key)
    home.put(strict.host, ca_crt=theirs.certificate)
    if known:
        home.put(strict.host, client_cert=ours.certificate, client_key=ours.key)
        assert home.client(client_of, secure.host).blob(layer) == CONTENT
    else:
        with pytest.raises(ImageError):
            home.client(client_of, secure.host).blob(layer)
        assert strict.server.seen == []


UNFIT = "cannot be used: a certificate and its key, as PEM and without a password, are wanted"
MISTAKES: dict[str, tuple[dict[str, bytes], str]] = {
    "no key": ({"client_cert": b""}, "HERE/client.cert: client.key is missing"),
    "no certificate": ({"client_key": b""}, "HERE/client.key: client.cert is missing"),
    "nonsense": ({"ca_crt": b"nonsense"}, "HERE/ca.crt: holds no certificate, as PEM or DER"),
    "empty": ({"ca_crt": b""}, "HERE/ca.crt: holds no certificate, as PEM or DER"),
    "no pair": ({"client_cert": b"x", "client_key": b"x"}, f"HERE/client.cert and HERE/client.key: {UNFIT}"),
}


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(("named", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(
    secure: Fake, home: Home, client_of: Make, named: dict[str, bytes], text: str, insecure: bool
) -> None:
    """Nothing is sent, in the clear neither."""
    place = home.put(secure.host, **named)

    with pytest.raises(ImageError) as raised:
        home.client(client_of, secure.host, insecure=insecure).source().top()
    assert str(raised.value) == text.replace("HERE", str(place))
    assert secure.server.seen == []


def test_a_key_with_a_password_is_not_asked_for(secure: Fake, ours: Pair, home: Home, client_of: Make) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(ours.key, None)
    locked = serialization.BestAvailableEncryption(b"secret")
    sealed = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    home.put(secure.host, client_cert=ours.certificate, client_key=sealed)

    with pytest.raises(ImageError, match="without a password"):
        home.client(client_of, secure.host).source().top()


def test_a_fifo_is_not_waited_for(secure: Fake, home: Home, client_of: Make) -> None:
    os.mkfifo(home.put(secure.host) / "ca.crt")

    with pytest.raises(ImageError, match="is not a regular file"):
        home.client(client_of, secure.host).source().top()


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("https://registry.example/v2/", ["registry.example", "registry.example:443"]),
        ("https://registry.example:5000/v2/", ["registry.example:5000"]),
        ("https://[::1]:5000/v2/", ["[::1]:5000"]),
        ("https://registry-1.docker.io/v2/", ["registry-1.docker.io", "registry-1.docker.io:443", "docker.io"]),
        ("http://registry.example/v2/", []),
    ],
)
def test_names_of_directories(url: str, names: list[str], home: Home) -> None:
    """Docker's own registry goes by the name that images have."""
    every = ["registry.example", "registry.example:443", "registry.example:5000", "[::1]:5000", "docker.io"]
    every += ["registry-1.docker.io", "registry-1.docker.io:443"]
    there = {name: str(home.put(name)) for name in every}
    environ = {"HOME": str(home.path)}
    found = []
    while directory := certificates.directory_of(parse(url), environ):
        found.append(directory)
        os.rmdir(directory)

    assert found == [there[name] for name in names]


def test_the_system_has_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own come first."""
    places = (str(tmp_path / "one"), str(tmp_path / "two"))
    monkeypatch.setattr(certificates, "PLACES", places)
    (tmp_path / "two" / "registry.example").mkdir(parents=True)
    url = parse("https://registry.example/v2/")

    assert certificates.directory_of(url, {}) == f"{places[1]}/registry.example"
    own = Home(tmp_path).put("registry.example")
    assert certificates.directory_of(url, {"HOME": str(tmp_path)}) == str(own)
    assert certificates.directory_of(url, {"HOME": "relative"}) == f"{places[1]}/registry.example"


@pytest.mark.peers("skopeo")
def test_as_skopeo_does(strict: Fake, theirs: Pair, ours: Pair, home: Home, client_of: Make, far_away: None) -> None:
    strict.add_image("v1", CONTENT)
    steps: list[dict[str, bytes]] = [
        {},
        {"ca_crt": theirs.certificate},
        {"client_cert": ours.certificate},
        {"client_key": ours.key},
    ]
    said = []
    for step in steps:
        home.put(strict.host, **step)
        try:
            home.client(client_of, strict.host).source().top()
            said.append((True, home.skopeo(strict.host) == 0))
        except ImageError:
            said.append((False, home.skopeo(strict.host) == 0))

    assert said == [(False, False)] * 3 + [(True, True)]
