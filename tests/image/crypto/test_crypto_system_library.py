"""Where Python's cryptography is not installed, as on a bare FreeBSD: the system's libcrypto does it, or one error."""

import base64
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import RunjailError
from runjail.image.crypto import jwe, keyfile, keys, layer_stream, pkcs7, primitives
from runjail.image.crypto.cipher import decryptor
from runjail.image.crypto.libcrypto import ciphers, library
from runjail.image.crypto.libcrypto import keys as made
from runjail.image.crypto.options import PrivateLayerOptions, SchemeError
from runjail.image.model import Descriptor
from tests.support.image import recorded_keys as recorded

with_library = pytest.mark.skipif(not library.library(), reason="needs OpenSSL 3's libcrypto")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide cryptography."""
    monkeypatch.setattr(primitives, "has_cryptography", lambda: False)
    keyfile.private_key.cache_clear()
    yield
    keyfile.private_key.cache_clear()


@with_library
def test_packets_that_cryptography_has_made() -> None:
    ours = {"privkeys": (recorded.OURS,), "privkeys-passwords": (None,)}
    curve = {"privkeys": (recorded.CURVE,), "privkeys-passwords": (None,)}
    for packet, parameters in ((recorded.FOR_OURS, ours), (recorded.FOR_CURVE, curve)):
        assert jwe.unwrap(base64.b64decode(packet), parameters) == b"options"
    packet = base64.b64decode(recorded.FOR_CERTIFICATE)
    assert pkcs7.unwrap(packet, ours | {"x509s": (recorded.CERTIFICATE,)}) == b"options"
    with pytest.raises(SchemeError, match="No suitable private key"):
        jwe.unwrap(base64.b64decode(recorded.FOR_OURS), curve)
    layer = decryptor(PrivateLayerOptions(recorded.KEY, recorded.NONCE, ""))
    assert layer.update(base64.b64decode(recorded.LAYER)) == bytes(100)


@with_library
@pytest.mark.parametrize(
    ("public", "private"), [(recorded.OURS_PUBLIC, recorded.OURS), (recorded.CURVE_PUBLIC, recorded.CURVE)]
)
def test_there_and_back(public: bytes, private: bytes) -> None:
    packet = jwe.wrap(b"options", {"pubkeys": (public, recorded.THEIRS_PUBLIC)})
    assert packet
    assert jwe.unwrap(packet, {"privkeys": (private,), "privkeys-passwords": (None,)}) == b"options"
    assert jwe.unwrap(packet, {"privkeys": (recorded.THEIRS,), "privkeys-passwords": (None,)}) == b"options"


@with_library
def test_key_files_are_recognised(tmp_path: Path) -> None:
    """A password is asked for by nobody, and what is no key is said to be none."""
    path = tmp_path / "key"
    path.write_bytes(recorded.OURS_SEALED)
    path.chmod(0o600)
    assert keys.read_keys([f"{path}:secret"])["privkeys"] == (recorded.OURS_SEALED,)
    with pytest.raises(RunjailError, match="Missing password for encrypted private key"):
        keys.read_keys([str(path)])
    with pytest.raises(RunjailError, match="Wrong password: could not decrypt private key"):
        keys.read_keys([f"{path}:other"])
    path.write_bytes(recorded.CERTIFICATE)
    assert set(keys.read_keys([str(path)])) == {"x509s"}
    path.write_bytes(b"nothing")
    with pytest.raises(RunjailError, match="unidentified private key"):
        keys.read_keys([str(path)])


@with_library
def test_a_layer_there_and_back() -> None:
    plain = bytes(range(256)) * 10_000
    digest = f"sha256:{hashlib.sha256(plain).hexdigest()}"
    described = Descriptor("application/vnd.oci.image.layer.v1.tar", digest, len(plain))
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sealed, tempfile.TemporaryFile() as out:
        source.write(plain)
        source.flush()
        private, public, encrypted = layer_stream.encrypt_blob(source.fileno(), sealed.fileno(), described)
        layer_stream.decrypt_blob(sealed.fileno(), out.fileno(), private, public, encrypted)
        out.seek(0)
        assert out.read() == plain


def test_without_either_one_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "library", lambda: None)
    (tmp_path / "key").write_bytes(recorded.OURS)
    for call in (lambda: keys.read_keys([str(tmp_path / "key")]), lambda: jwe.recipient(str(tmp_path / "key"))):
        with pytest.raises(RunjailError, match="cryptography, which is not installed") as caught:
            call()
        assert "py-cryptography" in (caught.value.hint or "")


@pytest.mark.parametrize("fault", ["missing", "older", "another"])
def test_a_library_that_does_not_do_is_none(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL 1.1 and LibreSSL: a version that is too old, and functions that are not there."""

    class Library:
        def __getattr__(self, name: str) -> object:
            if fault == "another" and name.startswith("EVP_PKEY_get_"):
                raise AttributeError(name)
            return lambda *_: 0x1010117F if name == "OpenSSL_version_num" else 0

    def load(_name: str) -> Library:
        if fault == "missing":
            raise OSError("no such library")
        return Library()

    monkeypatch.setattr("ctypes.CDLL", load)
    library.library.cache_clear()
    try:
        assert library.library() is None
        assert library.version() == ""
    finally:
        library.library.cache_clear()


@with_library
def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """NULL in the place of a context is an error with a remedy: it was handed to the next function."""
    monkeypatch.setattr(library.library(), "EVP_CIPHER_CTX_new", lambda: None)
    monkeypatch.setattr(library.library(), "EVP_PKEY_CTX_new", lambda *_: None)

    with pytest.raises(RunjailError, match="a library of the system finds no memory"):
        ciphers.Context("aes-256-ctr", bytes(32), bytes(16), encrypt=True)
    padding: Any = None  # it is not looked at by then
    with pytest.raises(RunjailError, match="a library of the system finds no memory"):
        made._padded(0, "encrypt", b"", padding)
