"""Encrypted images of skopeo's, which has ocicrypt and go-jose inside, and encrypted images for it."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import Corrupt, Unauthorized
from runjail.image.model import Descriptor

pytest.importorskip("cryptography", reason="needs cryptography")

from runjail.image.crypto import layer_stream, ocicrypt
from tests.support.image import key_fixtures, raw_tars
from tests.support.image.raw_tars import Layout, copy, plain_image, skopeo

pytestmark = pytest.mark.peers("skopeo")

PAIRS = {"rsa": key_fixtures.rsa_pair, "ec": key_fixtures.ec_pair, "third": lambda: key_fixtures.rsa_pair("third")}
WHO = {
    "jwe-rsa": [("rsa", "jwe")],
    "jwe-ec": [("ec", "jwe")],
    "pkcs7": [("rsa", "pkcs7")],
    "several": [("rsa", "jwe"), ("ec", "jwe"), ("rsa", "pkcs7"), ("third", "pkcs7")],
}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Every key as files."""
    return {name: make().write(tmp_path, name) for name, make in PAIRS.items()}


def keys_of(name: str, scheme: str) -> dict[str, tuple[bytes | None, ...]]:
    return PAIRS[name]().parameters(certificate=scheme == "pkcs7")


def recipient(paths: dict[str, dict[str, str]], name: str, scheme: str) -> str:
    return f"{scheme}:{paths[name]['public' if scheme == 'jwe' else 'certificate']}"


def decryption(paths: dict[str, dict[str, str]], name: str, scheme: str) -> list[str]:
    """Return skopeo's arguments for one key."""
    files = [paths[name]["private"]] + ([paths[name]["certificate"]] if scheme == "pkcs7" else [])
    return [word for file in files for word in ("--decryption-key", file)]


def opened(image: Layout, layer: Descriptor, keys: Any, directory: Path) -> tuple[Descriptor, bytes]:
    """Decrypt one layer."""
    private = ocicrypt.unwrap(layer, keys)
    source = os.open(image.file(layer.digest), os.O_RDONLY)
    out = os.open(directory / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        back = layer_stream.decrypt_blob(source, out, private, ocicrypt.public(layer), layer)
        return back, (directory / "out").read_bytes()
    finally:
        os.close(source)
        os.close(out)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("who", WHO)
def test_skopeo_encrypts(tmp_path: Path, paths: Any, compression: str, who: str) -> None:
    """Every recipient gets the layers back byte for byte."""
    plain = plain_image(tmp_path / "plain", compression)
    words = [word for name, scheme in WHO[who] for word in ("--encryption-key", recipient(paths, name, scheme))]
    image = copy(tmp_path, plain, "secret", *words)

    assert [layer.media_type for layer in image.layers()] == [f"{raw_tars.LAYER}+{compression}+encrypted"] * 2
    for name, scheme in WHO[who]:
        for before, layer in zip(plain.layers(), image.layers(), strict=True):
            back, content = opened(image, layer, keys_of(name, scheme), tmp_path)
            assert (back.media_type, back.digest, back.size) == (before.media_type, before.digest, before.size)
            assert content == plain.blob(before.digest)
            assert back.annotations == {}
    assert ocicrypt.recipients(image.layers()[0]) == sorted({f"[{scheme}]" for _name, scheme in WHO[who]})
    with pytest.raises(Unauthorized, match="none of the private keys could be used for decryption: "):
        ocicrypt.unwrap(image.layers()[0], key_fixtures.rsa_pair("stranger").parameters(certificate=True))
    with pytest.raises(Unauthorized, match=r"image: missing private key needed for decryption$"):
        ocicrypt.unwrap(image.layers()[0], {})


def encrypt(plain: Layout, path: Path, recipients: dict[str, tuple[bytes | None, ...]]) -> Layout:
    """Encrypt every layer of an image with our code, and write the image by hand."""
    layers = []
    for layer in plain.layers():
        source, out = (
            os.open(plain.file(layer.digest), os.O_RDONLY),
            os.open(path.parent / "out", os.O_RDWR | os.O_CREAT),
        )
        os.truncate(out, 0)
        private, public, encrypted = layer_stream.encrypt_blob(source, out, layer)
        os.close(source)
        os.close(out)
        annotations = ocicrypt.wrap(private, public, recipients)
        layers.append((encrypted.replace(annotations=annotations), (path.parent / "out").read_bytes()))
    diff_ids = [f"sha256:{hashlib.sha256(raw_tars.tar(f'file-{n}')).hexdigest()}" for n in range(len(layers))]
    return Layout(path).write(layers, diff_ids)


def wrapping(who: list[tuple[str, str]]) -> dict[str, tuple[bytes | None, ...]]:
    """Return the parameters for these recipients."""
    found: dict[str, tuple[bytes | None, ...]] = {}
    for name, scheme in who:
        parameter, content = (
            ("pubkeys", PAIRS[name]().public) if scheme == "jwe" else ("x509s", PAIRS[name]().certificate)
        )
        found[parameter] = (*found.get(parameter, ()), content)
    return found


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("who", WHO)
def test_skopeo_decrypts(tmp_path: Path, paths: Any, compression: str, who: str) -> None:
    """For every recipient it writes the plain image that there was before, layer for layer."""
    plain = plain_image(tmp_path / "plain", compression)
    image = encrypt(plain, tmp_path / "secret", wrapping(WHO[who]))

    for number, (name, scheme) in enumerate(WHO[who]):
        back = copy(tmp_path, image, f"back-{number}", *decryption(paths, name, scheme))
        assert back.layers() == [
            layer.replace(data=found.data) for layer, found in zip(plain.layers(), back.layers(), strict=True)
        ]
        assert [back.blob(layer.digest) for layer in back.layers()] == [
            plain.blob(layer.digest) for layer in plain.layers()
        ]


def test_skopeo_compresses_first(tmp_path: Path, paths: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The digest in its private options is then that of the tar: the diffID, which is no reason to warn."""
    plain = plain_image(tmp_path / "plain", "", 1)
    image = copy(tmp_path, plain, "secret", "--encryption-key", recipient(paths, "rsa", "jwe"))
    (layer,) = image.layers()
    private = ocicrypt.unwrap(layer, keys_of("rsa", "jwe"))

    assert (layer.media_type, private.digest) == (f"{raw_tars.LAYER}+gzip+encrypted", plain.layers()[0].digest)
    layer_stream.check_digest(private, layer, "sha256:" + "0" * 64, plain.layers()[0].digest)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("first", "second"), [("jwe", "jwe"), ("jwe", "pkcs7"), ("pkcs7", "jwe"), ("pkcs7", "pkcs7")])
def test_added_recipients(tmp_path: Path, paths: Any, first: str, second: str) -> None:
    """An image that skopeo encrypted gets a recipient; both open it, here and in skopeo, and no blob changed."""
    plain = plain_image(tmp_path / "plain", count=1)
    image = copy(tmp_path, plain, "secret", "--encryption-key", recipient(paths, "rsa", first))
    (layer,) = image.layers()
    more = ocicrypt.add_recipients(layer, keys_of("rsa", first), wrapping([("third", second)]))
    wider = layer.replace(annotations=more)
    shared = Layout(tmp_path / "shared").write([(wider, image.blob(layer.digest))], ["sha256:" + "0" * 64])

    for name, scheme in (("rsa", first), ("third", second)):
        assert opened(shared, shared.layers()[0], keys_of(name, scheme), tmp_path)[1] == plain.blob(
            plain.layers()[0].digest
        )
        back = copy(tmp_path, shared, f"back-{name}", *decryption(paths, name, scheme))
        assert back.layers()[0].digest == plain.layers()[0].digest
    with pytest.raises(Unauthorized):
        ocicrypt.unwrap(layer, keys_of("third", second))


def test_skopeo_has_the_same_words(tmp_path: Path, paths: Any) -> None:
    """What our errors promise to be alike is: a key that does not fit, none, and content that is not genuine."""
    plain = plain_image(tmp_path / "plain", count=1)
    image = copy(tmp_path, plain, "secret", "--encryption-key", recipient(paths, "rsa", "jwe"))
    target = f"oci:{tmp_path / 'back'}:latest"
    stranger = skopeo(tmp_path, *decryption(paths, "third", "jwe"), f"oci:{image.path}:latest", target)

    assert stranger.returncode != 0
    assert ocicrypt.NO_KEY_FITS in stranger.stderr
    (layer,) = image.layers()
    assert Unauthorized.most_important == "missing private key needed for decryption"
    damaged = bytearray(image.blob(layer.digest))
    damaged[100] ^= 1
    digest = f"sha256:{hashlib.sha256(damaged).hexdigest()}"
    forged = Layout(tmp_path / "forged").write([(layer.replace(digest=digest), bytes(damaged))], ["sha256:" + "0" * 64])
    refused = skopeo(tmp_path, *decryption(paths, "rsa", "jwe"), f"oci:{forged.path}:latest", target)
    expected = "could not properly decrypt byte stream; "
    assert f"{expected}exp hmac: '" in refused.stderr  # and the one that would do: tests/attacks/test_attack_keys.py
    with pytest.raises(Corrupt, match=f"^reading blob {digest}: {expected}"):
        opened(forged, forged.layers()[0], keys_of("rsa", "jwe"), tmp_path)
    assert (tmp_path / "out").read_bytes() == b""
