"""--sign-by-sigstore: what is put beside an image as it is stored, and when."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs cryptography")
pytest.importorskip("urllib3", reason="needs urllib3")

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

from runjail.errors import ImageError, RegistryError
from runjail.image.content.copy import copy_in, copy_out
from runjail.image.content.oci_layout import LayoutSink, LayoutSource
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor, Platform
from runjail.image.reference import parse
from runjail.image.trust.signer import Signer
from tests.image.registry.conftest import client, fake
from tests.support.image import signing
from tests.support.image.images import Layout
from tests.support.image.registry_client import Client
from tests.support.image.registry_server import Fake
from tests.support.image.signing import HERE, NAME, gate, pull

__all__ = ["client", "fake"]


@pytest.fixture
def key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def top(layout: Layout, content: ContentStore) -> Descriptor:
    """An index of two images in the store."""
    images = [
        layout.image(None, platform=HERE[0]),
        layout.image(None, [{"a": "b"}], platform=Platform("linux", "arm64")),
    ]
    layout.index("web", images)
    return copy_in(LayoutSource(str(layout.path), "web"), content, "web")


def sign(client: Client, content: ContentStore, top: Descriptor, key: Any, name: str = NAME) -> None:
    """Store the image under its name in the registry, signed. The client stays open."""
    sink = client.sink()
    sink.close = sink.abort = lambda: None  # type: ignore[method-assign]
    copy_out(content, top, sink, sign=Signer(key, parse(name)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_what_is_signed_can_be_pulled(
    fake: Fake, client: Client, content: ContentStore, top: Descriptor, tmp_path: Path, make: Any
) -> None:
    """By whoever wants this key's signature: each manifest, and the index."""
    key = make()
    sign(client, content, top, key)
    verifier = signing.Signer(fake, tmp_path, key)

    pull(client, ContentStore(str(tmp_path / "other")), gate(content, verifier.requirement()))

    signed = {name for name in fake.manifests if name.endswith(".sig")}
    assert top.digest.replace(":", "-") + ".sig" in signed
    assert len(signed) == 3


def test_signatures_are_there_before_the_name(
    fake: Fake, client: Client, content: ContentStore, top: Descriptor, key: Any
) -> None:
    """Who pulls by the name at any instant finds it signed; when signing fails there is no name."""
    fake.fault("PUT", ".sig", lambda request: request.reply(403))

    with pytest.raises(RegistryError):
        sign(client, content, top, key)
    assert "v1" not in fake.manifests

    sign(client, content, top, key)
    puts = [path for method, path, _headers in fake.server.seen if method == "PUT" and "/manifests/" in path]
    assert puts[-1].endswith("/manifests/v1")


def test_others_signatures_stay(fake: Fake, client: Client, content: ContentStore, top: Descriptor, key: Any) -> None:
    """And what this key has signed under this name is not signed again; under another name it is."""
    name = top.digest.replace(":", "-") + ".sig"
    for by, called in ((ec.generate_private_key(ec.SECP256R1()), NAME), (key, NAME), (key, NAME)):
        sign(client, content, top, by, called)
    assert len(json.loads(fake.manifests[name][1])["layers"]) == 2

    sign(client, content, top, key, "r.test/library/web:v2")
    document = json.loads(fake.manifests[name][1])
    assert len(document["layers"]) == 3
    config = json.loads(fake.blobs[document["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in document["layers"]]
    payload = json.loads(fake.blobs[document["layers"][-1]["digest"]])
    assert payload["critical"] == {
        "identity": {"docker-reference": "r.test/library/web:v2"},
        "image": {"docker-manifest-digest": top.digest},
        "type": "cosign container image signature",
    }
    assert base64.b64decode(document["layers"][-1]["annotations"][signing.SIGNATURE])


def test_what_cannot_sign(content: ContentStore, top: Descriptor, key: Any, tmp_path: Path) -> None:
    from runjail.image.trust import sigstore

    with pytest.raises(ImageError, match="signed with EC, RSA and Ed25519 keys"):
        sigstore.sign(x25519.X25519PrivateKey.generate(), b"")
    with pytest.raises(ImageError, match="only images in registries are signed"):
        copy_out(content, top, LayoutSink(str(tmp_path / "out"), "web"), sign=Signer(key, parse(NAME)))
