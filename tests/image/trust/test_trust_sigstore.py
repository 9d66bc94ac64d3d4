"""sigstoreSigned: which signatures count, of what, by whose key; and what a registry may answer."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs cryptography")
pytest.importorskip("urllib3", reason="needs urllib3")

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from runjail.errors import ImageError, NotTrusted, RegistryError
from runjail.image.content.store import ContentStore
from runjail.image.crypto.libcrypto import library
from runjail.image.registry.connections import Timeouts
from tests.image.registry.conftest import client, client_of, fake
from tests.support.image import signing
from tests.support.image.registry_client import Client
from tests.support.image.registry_server import Fake, Handler, digest_of
from tests.support.image.signing import NAME, Signer, gate, payload, pull, sign

__all__ = ["client", "client_of", "fake"]


@pytest.fixture
def signer(fake: Fake, tmp_path: Path) -> Signer:
    """Whose signatures count."""
    return Signer(fake, tmp_path)


@pytest.fixture
def digest(fake: Fake) -> str:
    """The manifest of an image in the registry."""
    return fake.add_image("v1", b"a layer").digest


def refused(client: Client, content: ContentStore, *asked: dict[str, Any]) -> str:
    """Pull what must be refused; return why. Nothing of it is here afterwards."""
    with pytest.raises(NotTrusted) as caught:
        pull(client, content, gate(content, *asked))
    assert content.digests() == []
    assert content.names() == {}
    start = f"image is not trusted: docker://{NAME}: /p.json: default[0]: sigstoreSigned: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_a_signed_image_is_taken_and_run(client: Client, content: ContentStore, signer: Signer, digest: str) -> None:
    """When it runs, what came with it is looked at again, without the registry."""
    signer.add(digest)
    asked = signer.requirement()

    image = pull(client, content, gate(content, asked))
    client.close()

    assert image.descriptor.digest == digest
    gate(content, asked).require(image)
    gate(content, {"type": "insecureAcceptAnything"}, asked).require(image)
    with pytest.raises(NotTrusted, match="reject"):
        gate(content, asked, {"type": "reject"}).require(image)


def test_one_good_signature_of_several_will_do(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str, tmp_path: Path
) -> None:
    signer.add(digest)
    document = json.loads(fake.manifests[digest.replace(":", "-") + ".sig"][1])
    wrong = document["layers"][0] | {"annotations": {signing.SIGNATURE: "AAAA"}}
    attestation = wrong | {"mediaType": "application/vnd.dsse.envelope.v1+json"}
    document["layers"] = [attestation, wrong, document["layers"][0]]
    fake.manifests[digest.replace(":", "-") + ".sig"] = (document["mediaType"], json.dumps(document).encode())

    pull(client, content, gate(content, signer.requirement()))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _digest: payload("sha256:" + "0" * 64), "a signature of another manifest"),
        (lambda digest: payload(digest, "r.test/library/other:v1"), "for the name 'r.test/library/other:v1'"),
        (lambda digest: payload(digest, "other.test/library/web:v1"), "for the name"),
        (lambda digest: payload(digest, "r.test/library/web:v2"), "for the name"),
        (lambda digest: payload(digest, "r.test/library/web"), "for the name"),
        (lambda digest: payload(digest, ""), "for the name"),
        (lambda digest: payload(digest)[:-1] + b', "critical": {}}', "'critical' twice"),
        (
            lambda digest: payload("sha256:" + "0" * 64).replace(
                b'"docker-manifest-digest"', f'"docker-manifest-digest": "{digest}", "docker-manifest-digest"'.encode()
            ),
            "'docker-manifest-digest' twice",
        ),
        (lambda digest: payload(digest, more=1), "not exactly critical, optional"),
        (lambda digest: payload(digest, critical={}), "critical has not exactly"),
        (lambda digest: payload(digest, optional=[]), "optional is no object"),
        (lambda digest: payload(digest).replace(b"cosign container", b"atomic container"), "of type"),
        (lambda digest: payload(digest).replace(b"sha256:", b"md5:"), "not a digest"),
        (lambda _digest: b"\xff", "not JSON"),
        (lambda _digest: b"[" * 100_000, "not JSON"),
        (lambda _digest: b"null", "document has not exactly"),
    ],
)
def test_signed_payloads_that_do_not_count(
    client: Client, content: ContentStore, signer: Signer, digest: str, make: Callable[[str], bytes], why: str
) -> None:
    """Whoever has the key has signed them, and still they say nothing about this image."""
    signer.add(digest, make(digest))

    assert why in refused(client, content, signer.requirement())


@pytest.mark.parametrize("kind", ["nobody", "P-256", "P-384", "RSA", "Ed25519", "other hash", "no base64", "empty"])
def test_signatures_by_others(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str, kind: str
) -> None:
    """By another key, on another curve, by another algorithm or hash, or none."""
    content_signed = payload(digest)
    proofs: dict[str, Callable[[], bytes]] = {
        "P-256": lambda: sign(ec.generate_private_key(ec.SECP256R1()), content_signed),
        "P-384": lambda: sign(ec.generate_private_key(ec.SECP384R1()), content_signed),
        "RSA": lambda: rsa.generate_private_key(65537, 2048).sign(content_signed, padding.PKCS1v15(), hashes.SHA256()),
        "Ed25519": lambda: ed25519.Ed25519PrivateKey.generate().sign(content_signed),
        "other hash": lambda: signer.key.sign(content_signed, ec.ECDSA(hashes.SHA512())),
    }
    if kind != "nobody":
        signer.add(digest, content_signed, proofs[kind]() if kind in proofs else b"x")
    if kind in ("no base64", "empty"):
        name = digest.replace(":", "-") + ".sig"
        document = json.loads(fake.manifests[name][1])
        document["layers"][0]["annotations"] = {signing.SIGNATURE: "%%"} if kind == "no base64" else {}
        fake.manifests[name] = (document["mediaType"], json.dumps(document).encode())
    expected = {"nobody": "there is no signature", "no base64": "is no base64"}.get(kind, "a signature by another key")

    assert expected in refused(client, content, signer.requirement())


@pytest.mark.parametrize("kind", ["RSA", "Ed25519", "P-521"])
def test_keys_of_other_kinds(
    client: Client, content: ContentStore, fake: Fake, digest: str, tmp_path: Path, kind: str
) -> None:
    """As containers takes them."""
    key: Any = {
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    }[kind]()
    signer, signed = Signer(fake, tmp_path, key), payload(digest)
    proof = {
        "RSA": lambda: key.sign(signed, padding.PKCS1v15(), hashes.SHA256()),
        "Ed25519": lambda: key.sign(signed),
        "P-521": lambda: sign(key, signed),
    }[kind]()
    signer.add(digest, signed, proof)

    pull(client, content, gate(content, signer.requirement()))


def test_where_keys_come_from(
    client: Client, content: ContentStore, signer: Signer, digest: str, tmp_path: Path
) -> None:
    """One or several, in files or in the policy itself; any of them will do."""
    signer.add(digest)
    (tmp_path / "other").mkdir()
    other, text = Signer(signer.fake, tmp_path / "other"), base64.b64encode(signer.pem).decode()
    image = pull(client, content, gate(content, signer.requirement()))

    for keys in (
        {"keyPaths": [str(other.path), str(signer.path)]},
        {"keyData": text},
        {"keyDatas": [base64.b64encode(other.pem).decode(), text]},
    ):
        gate(content, {"type": "sigstoreSigned", **keys}).require(image)
    for asked, why in (
        (other.requirement(), "a signature by another key"),
        ({"type": "sigstoreSigned", "keyPath": "/nonexistent"}, "its key cannot be read: /nonexistent is missing"),
        ({"type": "sigstoreSigned", "keyData": "AAAA"}, "Could not parse public key"),
        (signer.requirement(rekorPublicKeyPath="/r"), "rekorPublicKeyPath: entries of a transparency log are not"),
        ({"type": "sigstoreSigned", "fulcio": {}}, "fulcio: certificates are not supported"),
        ({"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}, "signedBaseLayer is not"),
    ):
        with pytest.raises(NotTrusted, match=why):
            gate(content, asked).require(image)


def test_without_the_library(
    client: Client, content: ContentStore, signer: Signer, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's libcrypto does; without, what needs a signature is refused, and the error says what is missing."""
    signer.add(digest)
    image = pull(client, content, gate(content, signer.requirement()))
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    if library.library():
        gate(content, signer.requirement()).require(image)
    monkeypatch.setattr(library, "library", lambda: None)

    gate(content, {"type": "insecureAcceptAnything"}).require(image)
    with pytest.raises(NotTrusted, match="takes the Python package cryptography, which is not installed"):
        gate(content, signer.requirement()).require(image)


# Registries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 405, 500, 503])
def test_an_answer_that_is_not_that_there_is_none(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str, status: int
) -> None:
    """A server that fails says nothing about signatures; nothing is fetched then."""
    fake.fault("GET", ".sig", *[lambda request: request.reply(status)] * 20)
    fake.fault("GET", "/referrers/", *[lambda request: request.reply(status)] * 20)

    with pytest.raises(RegistryError):
        pull(client, content, gate(content, signer.requirement()))
    assert content.digests() == []


def test_a_registry_that_never_answers(
    fake: Fake, client_of: Callable[..., Client], content: ContentStore, signer: Signer, digest: str
) -> None:
    done = Event()

    def wait(_request: Handler) -> None:
        done.wait(60)

    fake.fault("GET", ".sig", *[wait] * 20)

    with pytest.raises(ImageError):
        pull(client_of(fake.host, timeouts=Timeouts(5, 0.2, 5)), content, gate(content, signer.requirement()))
    done.set()
    assert content.digests() == []


def test_signatures_that_refer_to_their_manifest(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str
) -> None:
    """Where the tag is not there: distribution-spec's list, or the tag that stands for it."""
    manifest = signer.add(digest, tag="elsewhere")
    entry = manifest.document() | {"artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json"}
    kind = "application/vnd.oci.image.index.v1+json"
    listed = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()
    fake.fault("GET", "/referrers/", lambda request: request.reply(200, listed, Content_Type=kind))
    pull(client, content, gate(content, signer.requirement()))

    fake.fault("GET", "/referrers/", lambda request: request.reply(404))
    fake.manifests[digest.replace(":", "-")] = (kind, listed)
    pull(client, content, gate(content, signer.requirement()))


def test_a_tag_of_signatures_that_is_something_else(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str
) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    fake.manifests[digest.replace(":", "-") + ".sig"] = (kind, b'{"schemaVersion": 2, "manifests": []}')

    with pytest.raises(ImageError, match="not in an OCI manifest"):
        pull(client, content, gate(content, signer.requirement()))


@pytest.mark.parametrize("kind", ["long", "long together", "many", "another blob"])
def test_signatures_that_are_too_much(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str, kind: str
) -> None:
    signer.add(digest, b" " * {"long": 2 << 20, "long together": 600 << 10}.get(kind, 0) or None)
    name = digest.replace(":", "-") + ".sig"
    document = json.loads(fake.manifests[name][1])
    if kind == "many":
        document["layers"] *= 101
    elif kind == "long together":
        document["layers"] *= 2
    elif kind == "another blob":
        fake.blobs[document["layers"][0]["digest"]] = b"x" * document["layers"][0]["size"]
    fake.manifests[name] = (document["mediaType"], json.dumps(document).encode())

    with pytest.raises(ImageError):
        pull(client, content, gate(content, signer.requirement()))
    assert content.digests() == []


def test_nobody_is_asked_for_signatures_that_no_rule_wants(
    fake: Fake, client: Client, content: ContentStore, digest: str
) -> None:
    pull(client, content, gate(content, {"type": "insecureAcceptAnything"}))

    assert not [path for _method, path, _headers in fake.server.seen if ".sig" in path or "referrers" in path]


# Between pull and run ------------------------------------------------------------------------------------------------


def test_a_tag_that_moves_after_the_pull(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str
) -> None:
    """What is here stays what was signed; what the tag names now has to be signed itself."""
    signer.add(digest)
    by = gate(content, signer.requirement())
    image = pull(client, content, by)
    fake.add_image("v1", b"another layer")

    by.require(image)
    with pytest.raises(NotTrusted, match="there is no signature"):
        pull(client, content, by)
    assert content.names()[NAME].digest == digest


def test_a_signature_that_is_swapped_in_the_store(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str
) -> None:
    """One of another image, put in its place on the disk: it is bound to the manifest that runs."""
    signer.add(digest)
    by = gate(content, signer.requirement())
    image = pull(client, content, by)
    other = fake.add_image("v2", b"another layer").digest
    signer.add(other, payload(other, "r.test/library/web:v2"))
    pull(client, content, by, "r.test/library/web:v2", "v2")

    Path(content.arrivals_path(digest)).write_bytes(Path(content.arrivals_path(other)).read_bytes())

    with pytest.raises(NotTrusted, match=f"a signature of another manifest, {other}"):
        by.require(image)


def test_an_unsigned_image_by_its_digest(client: Client, content: ContentStore, signer: Signer, digest: str) -> None:
    """Whose name has only to be of the same repository; the digest proves nothing about who made it."""
    by, name = gate(content, signer.requirement()), f"r.test/library/web@{digest}"
    with pytest.raises(NotTrusted, match="there is no signature"):
        pull(client, content, by, name, digest)

    signer.add(digest, payload(digest, "r.test/library/web:whatever"))
    pull(client, content, by, name, digest)


def test_a_rule_that_is_new(client: Client, content: ContentStore, signer: Signer, digest: str) -> None:
    """Of an image that came before nobody has fetched signatures; the error says what brings them."""
    signer.add(digest)
    image = pull(client, content, gate(content, {"type": "insecureAcceptAnything"}))
    by = gate(content, signer.requirement())

    with pytest.raises(NotTrusted, match="there is no signature") as caught:
        by.require(image)
    assert "pull it again" in str(caught.value.hint)

    by.require(pull(client, content, by))


def test_a_signed_index_says_nothing_of_its_images(
    fake: Fake, client: Client, content: ContentStore, signer: Signer, digest: str
) -> None:
    """As with skopeo: the manifest that is chosen has to be signed; the index need not be."""
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": fake.manifests[digest][0], "digest": digest, "size": len(fake.manifests[digest][1])}
    entry["platform"] = {"os": "freebsd", "architecture": "amd64"}
    listed = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()
    fake.manifests["v1"] = fake.manifests[digest_of(listed)] = (kind, listed)
    signer.add(digest_of(listed))
    by = gate(content, signer.requirement())

    with pytest.raises(NotTrusted, match="there is no signature"):
        pull(client, content, by)

    signer.add(digest)
    by.require(pull(client, content, by))
