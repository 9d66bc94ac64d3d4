"""Whatever is changed in an encrypted layer, it is refused, and not one byte of plaintext comes out."""

import base64
import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runjail.errors import Corrupt, ImageError, Unauthorized
from runjail.image import digest as digests
from runjail.image.model import Descriptor

pytest.importorskip("cryptography", reason="needs cryptography")

from runjail.image.crypto import layer_stream, ocicrypt
from tests.support.image import key_fixtures, raw_tars

CONTENT = raw_tars.tar("tampered", 3000)
KEYS = [ocicrypt.KEYS + name for name in ("jwe", "pkcs7")]


class Encrypted:
    """One encrypted layer in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.pair = directory, key_fixtures.rsa_pair()
        (directory / "plain").write_bytes(CONTENT)
        (directory / "secret").touch()
        source, out = os.open(directory / "plain", os.O_RDONLY), os.open(directory / "secret", os.O_RDWR)
        plain = raw_tars.described(CONTENT, raw_tars.LAYER)
        private, public, layer = layer_stream.encrypt_blob(source, out, plain)
        os.close(source)
        os.close(out)
        wrapped = ocicrypt.wrap(private, public, {"pubkeys": (self.pair.public,), "x509s": (self.pair.certificate,)})
        self.layer, self.blob = layer.replace(annotations=wrapped), (directory / "secret").read_bytes()

    def decrypt(self, layer: Descriptor, blob: bytes) -> bytes:
        """Return the plaintext; what came out in spite of an error is in the file `out`."""
        (self.directory / "changed").write_bytes(blob)
        source = os.open(self.directory / "changed", os.O_RDONLY)
        out = os.open(self.directory / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            private = ocicrypt.unwrap(layer, self.pair.parameters(certificate=True))
            layer_stream.decrypt_blob(source, out, private, ocicrypt.public(layer), layer)
        finally:
            os.close(source)
            os.close(out)
        return self.emitted()

    def emitted(self) -> bytes:
        return (self.directory / "out").read_bytes()

    def annotated(self, name: str, content: bytes) -> Descriptor:
        """Return the layer with one annotation's content exchanged."""
        return self.layer.replace(annotations={**self.layer.annotations, name: base64.b64encode(content).decode()})

    def content(self, name: str) -> bytes:
        return base64.b64decode(self.layer.annotations[name])


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Encrypted:
    return Encrypted(tmp_path_factory.mktemp("tamper"))


CHANGE = st.integers(1, 255)
PLACE = st.integers(0, 1 << 20)


def flipped(content: bytes, place: int, change: int) -> bytes:
    at = place % len(content)
    return content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]


def test_it_is_good_to_begin_with(encrypted: Encrypted) -> None:
    assert encrypted.decrypt(encrypted.layer, encrypted.blob) == CONTENT


@given(PLACE, CHANGE)
def test_any_byte_of_the_blob(encrypted: Encrypted, place: int, change: int) -> None:
    """By whom the manifest cannot be changed: the digest tells."""
    with pytest.raises(Corrupt, match="its content has another digest"):
        encrypted.decrypt(encrypted.layer, flipped(encrypted.blob, place, change))
    assert encrypted.emitted() == b""


@given(PLACE, CHANGE)
def test_any_byte_of_the_blob_and_its_digest(encrypted: Encrypted, place: int, change: int) -> None:
    """By whom the manifest can be changed: the HMAC tells."""
    blob = flipped(encrypted.blob, place, change)
    with pytest.raises(Corrupt, match="could not properly decrypt byte stream; its HMAC is not that of"):
        encrypted.decrypt(encrypted.layer.replace(digest=digests.of(blob)), blob)
    assert encrypted.emitted() == b""


@given(PLACE, CHANGE)
def test_any_byte_of_a_blob_whose_digest_was_seen_before(encrypted: Encrypted, place: int, change: int) -> None:
    """As it came in, and is not asked for again: the HMAC tells."""
    (encrypted.directory / "changed").write_bytes(flipped(encrypted.blob, place, change))
    private = ocicrypt.unwrap(encrypted.layer, encrypted.pair.parameters(certificate=True))
    source = os.open(encrypted.directory / "changed", os.O_RDONLY)
    try:
        with pytest.raises(Corrupt, match="its HMAC is not that of"):
            layer_stream.verify(source, private, ocicrypt.public(encrypted.layer), encrypted.layer, known=True)
    finally:
        os.close(source)


@given(st.integers(0, len(CONTENT) + 100), st.booleans())
def test_any_other_length(encrypted: Encrypted, length: int, described: bool) -> None:
    """Cut off or longer, with a descriptor that says so or not."""
    assume(length != len(CONTENT))
    blob = (encrypted.blob + bytes(200))[:length]
    layer = encrypted.layer.replace(digest=digests.of(blob), size=length if described else len(CONTENT))
    with pytest.raises(Corrupt, match="could not properly decrypt byte stream" if described else "bytes long, not "):
        encrypted.decrypt(layer, blob)
    assert encrypted.emitted() == b""


@pytest.mark.parametrize("place", range(32))
def test_any_byte_of_the_hmac(encrypted: Encrypted, place: int) -> None:
    document = json.loads(encrypted.content(ocicrypt.PUBLIC))
    document["hmac"] = base64.b64encode(flipped(base64.b64decode(document["hmac"]), place, 1)).decode()

    with pytest.raises(Corrupt, match="could not properly decrypt byte stream"):
        encrypted.decrypt(encrypted.annotated(ocicrypt.PUBLIC, json.dumps(document).encode()), encrypted.blob)
    assert encrypted.emitted() == b""


@pytest.mark.parametrize("length", [1, 16, 31, 33, 64])
def test_any_other_length_of_the_hmac(encrypted: Encrypted, length: int) -> None:
    """A beginning of the right HMAC is not enough."""
    document = json.loads(encrypted.content(ocicrypt.PUBLIC))
    document["hmac"] = base64.b64encode((base64.b64decode(document["hmac"]) * 2)[:length]).decode()

    with pytest.raises(Corrupt, match="could not properly decrypt byte stream"):
        encrypted.decrypt(encrypted.annotated(ocicrypt.PUBLIC, json.dumps(document).encode()), encrypted.blob)
    assert encrypted.emitted() == b""


@given(PLACE, CHANGE)
def test_any_byte_of_the_public_options(encrypted: Encrypted, place: int, change: int) -> None:
    """Refused, unless it is still the same to every reader: Go and we ignore the case of names, and unknown ones."""
    same = encrypted.content(ocicrypt.PUBLIC)
    changed = flipped(same, place, change)
    try:
        assert encrypted.decrypt(encrypted.annotated(ocicrypt.PUBLIC, changed), encrypted.blob) == CONTENT
        assert json.loads(changed)
    except ImageError:
        assert encrypted.emitted() == b""


@given(st.binary(min_size=16, max_size=16))
def test_a_nonce_in_the_public_options(encrypted: Encrypted, nonce: bytes) -> None:
    """It would decrypt to garbage under a valid HMAC."""
    document = json.loads(encrypted.content(ocicrypt.PUBLIC))
    document["cipheroptions"] = {"nonce": base64.b64encode(nonce).decode()}

    with pytest.raises(Corrupt, match="the public nonce is not the private one"):
        encrypted.decrypt(encrypted.annotated(ocicrypt.PUBLIC, json.dumps(document).encode()), encrypted.blob)
    assert encrypted.emitted() == b""


@settings(max_examples=300)
@given(st.sampled_from(KEYS), PLACE, CHANGE)
def test_any_byte_of_a_packet(encrypted: Encrypted, name: str, place: int, change: int) -> None:
    """Unwrapping gives the layer's own key or nothing: never another one, and never an error that is not ours."""
    alone = {key: value for key, value in encrypted.layer.annotations.items() if key in (name, ocicrypt.PUBLIC)}
    alone[name] = base64.b64encode(flipped(encrypted.content(name), place, change)).decode()
    try:
        assert encrypted.decrypt(encrypted.layer.replace(annotations=alone), encrypted.blob) == CONTENT
    except Unauthorized:
        assert encrypted.emitted() == b""


@given(st.sampled_from([*KEYS, ocicrypt.PUBLIC]), PLACE, st.characters(codec="utf-8"))
def test_any_character_of_an_annotation(encrypted: Encrypted, name: str, place: int, character: str) -> None:
    text = encrypted.layer.annotations[name]
    at = place % len(text)
    alone: dict[str, Any] = {key: encrypted.layer.annotations[key] for key in (name, ocicrypt.PUBLIC, KEYS[0])}
    if name == KEYS[1]:
        del alone[KEYS[0]]
    alone[name] = text[:at] + character + text[at + 1 :]
    try:
        assert encrypted.decrypt(encrypted.layer.replace(annotations=alone), encrypted.blob) == CONTENT
    except ImageError:
        assert encrypted.emitted() == b""


def test_keys_of_another_layer(encrypted: Encrypted, tmp_path: Path) -> None:
    """Good annotations, each from another layer of the same owner."""
    other = Encrypted(tmp_path)
    for names in (KEYS, [ocicrypt.PUBLIC]):
        exchanged = {**encrypted.layer.annotations, **{name: other.layer.annotations[name] for name in names}}
        with pytest.raises(Corrupt, match="could not properly decrypt byte stream"):
            encrypted.decrypt(encrypted.layer.replace(annotations=exchanged), encrypted.blob)
        assert encrypted.emitted() == b""


def test_the_file_changes_after_it_was_verified(
    encrypted: Encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pass reads the descriptor that was verified: another file under the same name makes no difference."""
    verify = layer_stream.verify

    def then_replace(source: int, *arguments: Any, **more: Any) -> None:
        verify(source, *arguments, **more)
        (encrypted.directory / "other").write_bytes(b"evil" * 1000)
        os.rename(encrypted.directory / "other", encrypted.directory / "changed")

    monkeypatch.setattr(layer_stream, "verify", then_replace)
    assert encrypted.decrypt(encrypted.layer, encrypted.blob) == CONTENT


@pytest.mark.parametrize("known", [False, True])
def test_who_encrypts_hashes_what_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """Another content than is described is refused, unless this very process has looked already; then nobody looks."""
    made: list[str] = []
    new = digests.new
    monkeypatch.setattr(layer_stream.digests, "new", lambda digest: made.append(digest) or new(digest))
    (tmp_path / "plain").write_bytes(CONTENT)
    described = raw_tars.described(bytes(len(CONTENT)), raw_tars.LAYER)
    source, out = os.open(tmp_path / "plain", os.O_RDONLY), os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    before = set(threading.enumerate())
    try:
        with contextlib.nullcontext() if known else pytest.raises(Corrupt, match="another digest"):
            layer_stream.encrypt_blob(source, out, described, known=known)
    finally:
        os.close(source)
        os.close(out)

    assert made == ([] if known else [described.digest])
    assert set(threading.enumerate()) <= before


def test_a_disk_that_fills_up_while_it_is_encrypted_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    source, before = os.open(tmp_path / "plain", os.O_RDONLY), set(threading.enumerate())
    try:
        with pytest.raises(ImageError, match="encrypting layer sha256:"):
            layer_stream.encrypt_blob(source, source, raw_tars.described(CONTENT, raw_tars.LAYER))  # cannot be written
    finally:
        os.close(source)

    assert set(threading.enumerate()) <= before
