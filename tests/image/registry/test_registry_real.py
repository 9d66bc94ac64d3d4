"""Against Debian's docker-registry, with skopeo on the other side."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import ImageNotFound, RegistryError
from runjail.image import media_types, model
from runjail.image.registry.client import Registry
from runjail.image.registry.credentials import CredentialStore
from runjail.image.registry.sink import RegistrySink
from runjail.image.registry.source import RegistrySource
from tests.support.image.registry_client import put
from tests.support.image.registry_server import (
    PASSWORD,
    USER,
    DockerRegistry,
    TokenServer,
    described,
    digest_of,
    htpasswd,
    image,
    run,
)

pytest.importorskip("urllib3", reason="needs urllib3")
pytestmark = pytest.mark.needs("docker-registry", "loopback")
LAYERS = (b"lower" * 1000, os.urandom(3 << 20))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that lets everybody in."""
    yield from run(DockerRegistry(tmp_path_factory.mktemp("open")))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that wants USER and PASSWORD."""
    directory = tmp_path_factory.mktemp("guarded")
    yield from run(DockerRegistry(directory, htpasswd(directory)))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    pytest.importorskip("cryptography", reason="needs cryptography")
    yield from run(TokenServer(tmp_path_factory.mktemp("tokens")))


@pytest.fixture(scope="module")
def token_guarded(tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer) -> Iterator[DockerRegistry]:
    """A registry that wants tokens."""
    yield from run(DockerRegistry(tmp_path_factory.mktemp("token"), tokens.configuration))


def keyring(home: Path, host: str = "", password: str = PASSWORD) -> CredentialStore:
    """Return a keyring that knows one host."""
    path = home / "auth.json"
    path.write_text(json.dumps({"auths": {host: {"username": USER, "password": password}} if host else {}}))
    return CredentialStore(str(path), {"HOME": str(home)})


def push(registry: Registry, repository: str, tag: str, *layers: bytes, mount_from: tuple[str, ...] = ()) -> str:
    """Push an image and return its digest."""
    blobs, manifest = image(*layers)
    sink = RegistrySink(registry, repository, tag, mount_from)
    for content in blobs.values():
        descriptor = described(content)
        if not sink.has(descriptor):
            put(sink, described(content), content)
            assert sink.has(descriptor)
    sink.put_document(described(manifest, media_types.OCI_MANIFEST), manifest, top=True)
    sink.close()
    return digest_of(manifest)


def pull(registry: Registry, repository: str, reference: str) -> dict[str, bytes]:
    """Pull an image and return what came, by digest."""
    source = RegistrySource(registry, repository, reference)
    top = source.top()
    manifest = model.parse_manifest(source.document(top), top.media_type)
    assert isinstance(manifest, model.Manifest)
    found = {top.digest: source.document(top), manifest.config.digest: source.document(manifest.config)}
    found |= {layer.digest: b"".join(source.blob(layer)) for layer in manifest.layers}
    source.close()
    return found


def skopeo(*args: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
    done = subprocess.run(["skopeo", *args], capture_output=True, text=True, check=False, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_we_push_we_can_pull(server: DockerRegistry, tmp_path: Path) -> None:
    """Every blob and the manifest come back as they were, by tag and by digest."""
    digest = push(Registry(server.host, keyring=keyring(tmp_path)), "round/trip", "v1", *LAYERS)

    for reference in ("v1", digest):
        found = pull(Registry(server.host, keyring=keyring(tmp_path)), "round/trip", reference)
        blobs, manifest = image(*LAYERS)
        assert found == {**blobs, digest: manifest}


def test_offset(server: DockerRegistry, tmp_path: Path) -> None:
    """A blob can be read from any byte on."""
    push(Registry(server.host, keyring=keyring(tmp_path)), "round/offset", "v1", *LAYERS)
    registry = Registry(server.host, keyring=keyring(tmp_path))
    source = RegistrySource(registry, "round/offset", "v1")

    for offset in (0, 1, 3_000_000, len(LAYERS[1]) - 1, len(LAYERS[1])):
        assert b"".join(source.blob(described(LAYERS[1]), offset)) == LAYERS[1][offset:]
    source.close()


@pytest.mark.peers("skopeo")
def test_skopeo_reads_what_we_push(server: DockerRegistry, tmp_path: Path) -> None:
    digest = push(Registry(server.host, keyring=keyring(tmp_path)), "to/skopeo", "v1", *LAYERS)

    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{server.host}/to/skopeo:v1")
    skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/to/skopeo@{digest}", f"dir:{tmp_path}/out")

    assert digest_of(raw.encode()) == digest
    for layer in LAYERS:
        assert (tmp_path / "out" / digest_of(layer).removeprefix("sha256:")).read_bytes() == layer


@pytest.mark.peers("skopeo")
def test_we_read_what_skopeo_pushes(server: DockerRegistry, tmp_path: Path) -> None:
    blobs, manifest = image(*LAYERS)
    source = tmp_path / "in"
    source.mkdir()
    for digest, content in blobs.items():
        (source / digest.removeprefix("sha256:")).write_bytes(content)
    (source / "manifest.json").write_bytes(manifest)
    (source / "version").write_text("Directory Transport Version: 1.1\n")

    options = ("--dest-tls-verify=false", "--preserve-digests")  # or it compresses the layers
    skopeo("copy", *options, f"dir:{source}", f"docker://{server.host}/from/skopeo:v1")
    found = pull(Registry(server.host, keyring=keyring(tmp_path)), "from/skopeo", "v1")

    assert set(blobs.items()) <= set(found.items())


def test_mounting_saves_the_upload(server: DockerRegistry, tmp_path: Path) -> None:
    """A blob that another repository has is not sent again, and progress still reaches its size."""
    push(Registry(server.host, keyring=keyring(tmp_path)), "mount/from", "v1", *LAYERS)
    before = len(server.requests())
    registry = Registry(server.host, keyring=keyring(tmp_path))
    sink = RegistrySink(registry, "mount/to", "v1", ("mount/absent", "mount/from"))
    told = put(sink, described(LAYERS[1]), LAYERS[1])
    sink.close()

    assert sum(told) == len(LAYERS[1])
    requests = server.requests()[before:]
    assert [status for method, path, status in requests if method == "POST" and "mount=" in path] == [202, 201]
    assert [path for method, path, _status in requests if method in ("PUT", "PATCH")] == []
    assert [status for method, _path, status in requests if method == "DELETE"] == [204]  # the first one's upload
    push(Registry(server.host, keyring=keyring(tmp_path)), "mount/to", "v1", *LAYERS)
    assert pull(Registry(server.host, keyring=keyring(tmp_path)), "mount/to", "v1")[digest_of(LAYERS[1])] == LAYERS[1]


def test_chunks(server: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real registry puts the pieces together."""
    monkeypatch.setattr("runjail.image.registry.sink.CHUNK", 1_000_000)
    registry = Registry(server.host, keyring=keyring(tmp_path))
    sink = RegistrySink(registry, "in/chunks", "v1")
    sink._in_chunks = True
    put(sink, described(LAYERS[1]), LAYERS[1])

    assert sink.has(described(LAYERS[1]))
    patches = [status for method, path, status in server.requests() if method == "PATCH" and "in/chunks" in path]
    assert patches == [202] * 4
    sink.close()


def test_tags_and_deleting(server: DockerRegistry, tmp_path: Path) -> None:
    for tag in ("a", "b"):
        digest = push(Registry(server.host, keyring=keyring(tmp_path)), "some/tags", tag, tag.encode())
    registry = Registry(server.host, keyring=keyring(tmp_path))

    assert sorted(registry.tags("some/tags")) == ["a", "b"]
    registry.delete_manifest("some/tags", digest)
    assert registry.tags("some/tags") == ["a"]
    registry.close()


@pytest.mark.parametrize("kind", ["guarded", "token_guarded"])
def test_with_credentials(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Basic authorization and tokens, for pushing, mounting and pulling."""
    server: Any = request.getfixturevalue(kind)

    def registry() -> Registry:
        return Registry(server.host, keyring=keyring(tmp_path, server.host))

    push(registry(), "kept/from", "v1", *LAYERS)
    before = len(server.requests())
    digest = push(registry(), "kept/to", "v1", *LAYERS, mount_from=("kept/from",))

    assert digest in pull(registry(), "kept/to", "v1")
    assert [path for method, path, _status in server.requests()[before:] if method == "PUT"] == [
        "/v2/kept/to/manifests/v1"
    ]


@pytest.mark.parametrize("kind", ["guarded", "token_guarded"])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_right_credentials(
    kind: str, password: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The error names the status, the hint the file; the password is in neither."""
    server: Any = request.getfixturevalue(kind)
    registry = Registry(server.host, keyring=keyring(tmp_path, server.host if password else "", "wr0ng"))

    with pytest.raises(RegistryError, match="401 Unauthorized") as caught:
        RegistrySource(registry, "kept/from", "v1").top()

    assert caught.value.status == 401
    assert str(tmp_path / "auth.json") in (caught.value.hint or "")
    assert "wr0ng" not in f"{caught.value} {caught.value.hint}"
    registry.close()


def test_nothing_there(server: DockerRegistry, tmp_path: Path) -> None:
    registry = Registry(server.host, keyring=keyring(tmp_path))
    with pytest.raises(ImageNotFound, match=f"{server.host}/no/such:v1$"):
        RegistrySource(registry, "no/such", "v1").top()
    registry.close()
