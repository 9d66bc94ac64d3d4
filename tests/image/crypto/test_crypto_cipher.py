"""The cipher, the options and whole blobs."""

import base64
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageError
from runjail.image.crypto.options import PrivateLayerOptions, PublicLayerOptions
from runjail.image.model import Descriptor

pytest.importorskip("cryptography", reason="needs cryptography")

from runjail.image.crypto import cipher, layer_stream
from tests.support.image import raw_tars

KEY = PrivateLayerOptions(bytes(range(32)), bytes(range(0xF0, 0x100)), "sha256:" + "ab" * 32)
PLAIN = b"runjail ocicrypt vector 1\n" * 2
CIPHERTEXT = bytes.fromhex(
    "e075a3e742ffeceb350a8f37324b1360ea291e23854546e15fad2754241de7e7f54c4e387d7b87e108f10066f03786e03b48f227"
)
HMAC = "lObqkzPl4j5QtRt1xy/0m2T4uKa+a1PsKzNjVGJ5aCE="


def test_known_answer() -> None:
    """Ciphertext and HMAC are those that were computed independently; the counter runs over from ff..ff to 00..00."""
    authenticator = cipher.Authenticator(KEY)
    authenticator.update(CIPHERTEXT)

    assert cipher.encryptor(KEY).update(PLAIN) == CIPHERTEXT
    assert cipher.decryptor(KEY).update(CIPHERTEXT) == PLAIN
    assert base64.b64encode(authenticator.public().hmac).decode() == HMAC


def _file(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    return os.open(path, os.O_RDWR)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, (1 << 20) - 1, 1 << 20, (2 << 20) + 5])
def test_a_blob_there_and_back(tmp_path: Path, size: int) -> None:
    """Decrypting gives the same bytes, and the descriptors say what the files are; offsets do not matter."""
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    plain = raw_tars.described(content, raw_tars.LAYER + "+gzip").replace(annotations={"a": "b"})
    files = [_file(tmp_path / "plain", content), _file(tmp_path / "secret", b""), _file(tmp_path / "again", b"")]
    os.lseek(files[0], 0, os.SEEK_END)

    private, public, encrypted = layer_stream.encrypt_blob(files[0], files[1], plain)
    back = layer_stream.decrypt_blob(files[1], files[2], private, public, encrypted)

    secret = (tmp_path / "secret").read_bytes()
    assert encrypted == raw_tars.described(secret, raw_tars.LAYER + "+gzip+encrypted").replace(annotations={"a": "b"})
    assert (back, (tmp_path / "again").read_bytes()) == (plain, content)
    assert private.digest == plain.digest and (size < 16 or secret != content)
    for file in files:
        os.close(file)


def test_every_layer_has_its_own_key(tmp_path: Path) -> None:
    """The counter of one key is never used twice."""
    assert len({(key.symkey, key.nonce) for key in (cipher.generate() for _ in range(50))}) == 50


@pytest.mark.parametrize(
    ("kind", "encrypted"),
    [
        (raw_tars.LAYER, raw_tars.LAYER + "+encrypted"),
        (raw_tars.LAYER + "+zstd", raw_tars.LAYER + "+zstd+encrypted"),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip+encrypted",
        ),
        ("application/vnd.docker.image.rootfs.diff.tar", raw_tars.LAYER + "+encrypted"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", raw_tars.LAYER + "+gzip+encrypted"),
    ],
)
def test_encrypted_media_types(kind: str, encrypted: str) -> None:
    """The suffix comes last, docker's types become OCI's."""
    assert layer_stream.encrypted_type(kind) == encrypted


@pytest.mark.parametrize(
    "kind",
    [
        raw_tars.LAYER + "+encrypted",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.in-toto+json",
    ],
)
def test_what_is_not_encrypted(kind: str) -> None:
    """Encrypted layers, foreign ones and attestations."""
    with pytest.raises(ImageError, match="is not encrypted"):
        layer_stream.encrypted_type(kind)


def test_a_source_of_another_size(tmp_path: Path) -> None:
    """A descriptor that is wrong about the plaintext makes no encrypted blob."""
    source, out = _file(tmp_path / "plain", b"12345"), _file(tmp_path / "out", b"")

    with pytest.raises(Corrupt, match="5 bytes long, not 6"):
        layer_stream.encrypt_blob(source, out, Descriptor(raw_tars.LAYER, "sha256:" + "0" * 64, 6))
    assert (tmp_path / "out").read_bytes() == b""
    os.close(source)
    os.close(out)


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    """Writing fails: one line, that of the layer."""
    content = raw_tars.tar("a")
    plain = raw_tars.described(content, raw_tars.LAYER)
    source = _file(tmp_path / "plain", content)
    reading = os.open(tmp_path / "plain", os.O_RDONLY)

    with pytest.raises(ImageError, match=f"encrypting layer {plain.digest}: bad file descriptor"):
        layer_stream.encrypt_blob(source, reading, plain)
    os.close(source)
    with pytest.raises(ImageError, match=f"reading blob {plain.digest}: bad file descriptor"):
        layer_stream.verify(source, KEY, PublicLayerOptions(b"0" * 32), plain)
    os.close(reading)


@pytest.mark.parametrize(("digest", "warned"), [("plain", False), ("diff_id", False), ("", False), ("other", True)])
def test_the_digest_of_private_options_is_advice(
    tmp_path: Path, digest: str, warned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Blob or diffID are what writers put there; anything else warns and decrypts."""
    content = b"some layer"
    diff_id = f"sha256:{hashlib.sha256(b'unpacked').hexdigest()}"
    plain = raw_tars.described(content, raw_tars.LAYER)
    source, secret, out = (_file(tmp_path / name, b"") for name in ("plain", "secret", "out"))
    os.write(source, content)
    said = {"plain": plain.digest, "diff_id": diff_id, "other": "sha256:" + "1" * 64}.get(digest, "")
    private, public, encrypted = layer_stream.encrypt_blob(source, secret, plain)

    layer_stream.decrypt_blob(secret, out, replace(private, digest=said), public, encrypted, diff_id)

    assert ("before encryption" in capfd.readouterr().err) is warned
    assert (tmp_path / "out").read_bytes() == content
    for file in (source, secret, out):
        os.close(file)
