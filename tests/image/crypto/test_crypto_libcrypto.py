"""libcrypto of the system beside Python's cryptography: each reads what the other makes, and refuses the same."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="needs cryptography")
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes

from runjail.image.crypto import cipher, jwe, jwk, keyfile, pkcs7, primitives, secretbox
from runjail.image.crypto.libcrypto import ciphers, kinds, library
from runjail.image.crypto.libcrypto import keys as ours
from runjail.image.crypto.options import SchemeError
from tests.support.image.key_fixtures import ec_pair, rsa_pair

pytestmark = pytest.mark.skipif(not library.library(), reason="needs OpenSSL 3's libcrypto")
KEYS = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
FEW = settings(max_examples=30)
RSA = rsa_pair().key
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
POINTS = {name: ec_pair(curve=name).key for name in CURVES}
SIGNER = ed25519.Ed25519PrivateKey.generate()
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, OPENSSL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()
SEALED = serialization.BestAvailableEncryption(b"secret")
INFO = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Return a function that hides cryptography from primitives, or shows it. Keys of one do not suit the other."""

    def hide(hidden: bool) -> None:
        monkeypatch.setattr(primitives, "has_cryptography", lambda: not hidden)
        keyfile.private_key.cache_clear()

    yield hide
    keyfile.private_key.cache_clear()


# Ciphers --------------------------------------------------------------------------------------------------------------


@FEW
@given(KEYS, st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=100), max_size=5))
def test_counter_mode(key: bytes, nonce: bytes, pieces: list[bytes]) -> None:
    theirs = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
    mine = ciphers.Cipher(ciphers.AES(key), ciphers.CTR(nonce)).encryptor()
    back = ciphers.Cipher(ciphers.AES(key), ciphers.CTR(nonce)).decryptor()

    sealed = [mine.update(piece) for piece in pieces]

    assert sealed == [theirs.update(piece) for piece in pieces]
    assert [back.update(memoryview(piece)) for piece in sealed] == pieces


@FEW
@given(KEYS, st.binary(min_size=12, max_size=12), st.binary(max_size=300), st.binary(max_size=40))
def test_galois_counter_mode(key: bytes, nonce: bytes, data: bytes, more: bytes) -> None:
    sealed = aead.AESGCM(key).encrypt(nonce, data, more)

    assert ciphers.AESGCM(key).encrypt(nonce, data, more) == sealed
    assert ciphers.AESGCM(key).decrypt(nonce, sealed, more) == data


@pytest.mark.parametrize("at", [0, 20, -1])
def test_what_is_not_genuine_is_not_opened(at: int) -> None:
    mine, nonce = ciphers.AESGCM(bytes(32)), bytes(12)
    sealed = bytearray(mine.encrypt(nonce, b"x" * 40, b"a"))
    sealed[at] ^= 1
    for data, more in ((bytes(sealed), b"a"), (mine.encrypt(nonce, b"x", b"a"), b"b"), (b"short", None)):
        with pytest.raises(library.InvalidTag):
            mine.decrypt(nonce, data, more)
        with pytest.raises(InvalidTag):
            aead.AESGCM(bytes(32)).decrypt(nonce, data, more)


@FEW
@given(KEYS, st.binary(min_size=16, max_size=16), st.binary(max_size=60).filter(lambda data: len(data) % 16 != 15))
def test_block_chaining_with_padding(key: bytes, initial: bytes, data: bytes) -> None:
    padded = data + bytes((16 - len(data) % 16,)) * (16 - len(data) % 16)
    sealed = Cipher(algorithms.AES(key), modes.CBC(initial)).encryptor().update(padded)
    decryptor = ciphers.Cipher(ciphers.AES(key), ciphers.CBC(initial)).decryptor()
    unpadder = ciphers.PKCS7(128).unpadder()

    assert unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize() == data


@pytest.mark.parametrize(
    "padded", [b"", b"x" * 15 + b"\0", b"x" * 15 + b"\x11", b"x" * 14 + b"\x01\x02", b"x" * 15 + b"\xff"]
)
def test_bad_padding_is_refused(padded: bytes) -> None:
    unpadder = ciphers.PKCS7(128).unpadder()
    unpadder.update(padded)
    with pytest.raises(ValueError, match="padding"):
        unpadder.finalize()


def test_blocks_that_are_not_whole_are_refused(without: Callable[[bool], None]) -> None:
    without(True)
    with pytest.raises(ValueError, match="libcrypto refuses"):
        cipher.decrypt_cbc(bytes(16), bytes(16), b"x" * 15)
    for size in (0, 8, 33):
        with pytest.raises(ValueError, match="no AES key"):
            ciphers.AES(bytes(size))
    with pytest.raises(ValueError, match="of 15 bytes"):
        ciphers.CTR(bytes(15))


@FEW
@given(KEYS, KEYS)
def test_wrapped_keys(wrapping: bytes, key: bytes) -> None:
    wrapped = keywrap.aes_key_wrap(wrapping, key)

    assert ciphers.aes_key_wrap(wrapping, key) == wrapped
    assert ciphers.aes_key_unwrap(wrapping, wrapped) == key
    for bad in (wrapped[:-1] + bytes((wrapped[-1] ^ 1,)), wrapped[:-8], wrapped[:-1], b""):
        with pytest.raises(library.InvalidUnwrap):
            ciphers.aes_key_unwrap(wrapping, bad)


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [RSA, *POINTS.values(), SIGNER], ids=["rsa", *POINTS, "ed25519"])
def test_keys_in_every_form(key: Any) -> None:
    """Private in each form that has a password or none, public, and what is no key, or more than one."""
    public = key.public_key().public_bytes(DER, INFO)
    forms = [PKCS8] if key is SIGNER else [PKCS8, OPENSSL]
    for form in forms:
        assert ours.load_pem_private_key(key.private_bytes(PEM, form, PLAIN), None).der() == public
        assert ours.load_der_private_key(key.private_bytes(DER, form, PLAIN), None).der() == public
        sealed = key.private_bytes(PEM, form, SEALED)
        assert ours.load_pem_private_key(sealed, b"secret").public_key().der() == public
        for password in (b"wrong", b"", b"x" * 5000):
            with pytest.raises(ValueError, match="no key"):
                ours.load_pem_private_key(sealed, password)
        with pytest.raises(TypeError, match="assword"):
            ours.load_pem_private_key(sealed, None)
        with pytest.raises(TypeError, match="assword"):
            ours.load_pem_private_key(key.private_bytes(PEM, form, PLAIN), b"one too many")
    assert ours.load_der_private_key(key.private_bytes(DER, PKCS8, SEALED), b"secret").der() == public
    assert ours.load_pem_public_key(key.public_key().public_bytes(PEM, INFO)).der() == public
    for bad in (b"", public[:-1], public + b"x", b"\x30\x00", os.urandom(100)):
        with pytest.raises(ValueError, match="no key"):
            ours.load_der_public_key(bad)
        with pytest.raises(ValueError, match="no key"):
            ours.load_der_private_key(bad, b"p")


def test_an_rsa_key_of_pkcs_1() -> None:
    pem = RSA.public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1)
    assert ours.load_pem_public_key(pem).der() == RSA.public_key().public_bytes(DER, INFO)


@pytest.mark.parametrize("hash", ["SHA1", "SHA256"])
def test_rsa(hash: str) -> None:
    private = ours.load_der_private_key(RSA.private_bytes(DER, PKCS8, PLAIN), None)
    kind, mine = getattr(hashes, hash), getattr(kinds, hash)
    theirs = padding.OAEP(padding.MGF1(kind()), kind(), None)
    oaep = kinds.OAEP(kinds.MGF1(mine()), mine(), None)

    assert private.decrypt(RSA.public_key().encrypt(b"key", theirs), oaep) == b"key"
    assert RSA.decrypt(private.public_key().encrypt(b"key", oaep), theirs) == b"key"
    assert private.decrypt(RSA.public_key().encrypt(b"key", padding.PKCS1v15()), kinds.PKCS1v15()) == b"key"
    assert RSA.decrypt(private.public_key().encrypt(b"key", kinds.PKCS1v15()), padding.PKCS1v15()) == b"key"
    assert private.key_size == 2048
    with pytest.raises(ValueError, match="libcrypto refuses"):
        private.decrypt(bytes(256), oaep)
    with pytest.raises(ValueError, match="libcrypto refuses"):
        private.public_key().encrypt(bytes(300), oaep)


def test_what_is_shorter_or_longer_than_the_key_is_not_decrypted() -> None:
    """libcrypto puts zeros before it: one packet could be written in two ways."""
    private = ours.load_der_private_key(RSA.private_bytes(DER, PKCS8, PLAIN), None)
    while (sealed := RSA.public_key().encrypt(b"key", padding.PKCS1v15()))[0]:
        pass
    assert private.decrypt(sealed, kinds.PKCS1v15()) == b"key"
    for bad in (sealed[1:], b"\0" + sealed, b""):
        with pytest.raises(ValueError, match="length"):
            private.decrypt(bad, kinds.PKCS1v15())
        with pytest.raises(ValueError, match="length"):
            RSA.decrypt(bad, padding.PKCS1v15())


def test_signatures() -> None:
    for key, words, theirs in (
        (RSA, (kinds.PKCS1v15(), kinds.SHA256()), (padding.PKCS1v15(), hashes.SHA256())),
        (POINTS["P-256"], (kinds.ECDSA(kinds.SHA256()),), (ec.ECDSA(hashes.SHA256()),)),
        (SIGNER, (), ()),
    ):
        private = ours.load_der_private_key(key.private_bytes(DER, PKCS8, PLAIN), None)
        proof = private.sign(b"data", *words)
        key.public_key().verify(proof, b"data", *theirs)
        private.public_key().verify(key.sign(b"data", *theirs), b"data", *words)
        for bad, data in ((proof, b"other"), (proof[:-1] + bytes((proof[-1] ^ 1,)), b"data"), (b"", b"data")):
            with pytest.raises(library.InvalidSignature):
                private.public_key().verify(bad, data, *words)
            with pytest.raises(InvalidSignature):
                key.public_key().verify(bad, data, *theirs)


@pytest.mark.parametrize("name", CURVES)
def test_points(name: str, without: Callable[[bool], None]) -> None:
    private = ours.load_der_private_key(POINTS[name].private_bytes(DER, PKCS8, PLAIN), None)
    other = ec.generate_private_key(CURVES[name])
    peer = ours.load_der_public_key(other.public_key().public_bytes(DER, INFO))
    assert private.exchange(kinds.ECDH(), peer) == POINTS[name].exchange(ec.ECDH(), other.public_key())
    made = ours.generate_private_key(private.curve)
    assert made.curve.name == CURVES[name].name
    wrong = POINTS["P-256" if name != "P-256" else "P-384"].public_key().public_bytes(DER, INFO)
    with pytest.raises(ValueError, match="libcrypto refuses"):
        private.exchange(kinds.ECDH(), ours.load_der_public_key(wrong))

    document = jwk.of_public(POINTS[name].public_key())
    numbers = POINTS[name].private_numbers()
    value = jwk.encode(numbers.private_value.to_bytes((private.curve.key_size + 7) // 8, "big"))
    without(True)
    assert jwk.of_public(private.public_key()) == document
    assert jwk.private_key(document | {"d": value}).public_key().public_numbers().x == numbers.public_numbers.x
    for bad in (document | {"y": document["x"]}, document | {"x": jwk.encode(bytes(80))}):
        with pytest.raises(ValueError, match=r"no key|not a point"):
            jwk.public_key(bad)
    with pytest.raises(ValueError, match="belong together"):
        jwk.private_key(document | {"d": jwk.encode(b"\x07")})


def test_rsa_keys_of_numbers(without: Callable[[bool], None]) -> None:
    numbers = RSA.private_numbers()
    parts = {"e": 65537, "n": numbers.public_numbers.n, "d": numbers.d, "p": numbers.p, "q": numbers.q}
    encoded = {name: jwk.encode(value.to_bytes(256, "big").lstrip(b"\0")) for name, value in parts.items()}
    without(True)
    key: Any = jwk.private_key({"kty": "RSA", **encoded})
    assert key.der() == RSA.public_key().public_bytes(DER, INFO)
    with pytest.raises(ValueError, match="primes"):
        jwk.private_key({"kty": "RSA", **encoded, "p": jwk.encode(bytes([3]))})
    for exponent in (b"\1", b"\4"):
        with pytest.raises(ValueError, match="exponent"):
            jwk.public_key({"kty": "RSA", "e": jwk.encode(exponent), "n": encoded["n"]})


def test_certificates() -> None:
    pem = rsa_pair().certificate
    theirs = x509.load_pem_x509_certificate(pem)
    whole = theirs.public_bytes(DER)
    for found in (ours.load_pem_x509_certificate(pem), ours.load_der_x509_certificate(whole)):
        assert found.tbs_certificate_bytes == theirs.tbs_certificate_bytes
        assert found.public_key().der() == RSA.public_key().public_bytes(DER, INFO)
    for bad in (b"", whole[:-1], whole + b"x"):
        with pytest.raises(ValueError, match="no certificate"):
            ours.load_der_x509_certificate(bad)


@pytest.mark.parametrize("has", [True, False])
def test_a_certificate_for_a_key_of_another_kind(has: bool, without: Callable[[bool], None]) -> None:
    """It is a certificate all the same, and no recipient."""
    signed = x509.load_pem_x509_certificate(rsa_pair().certificate).public_bytes(DER)
    kind = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption, once; 1.2.840.113549.1.1.99 is nothing
    assert signed.count(kind) == 1
    other = signed.replace(kind, kind[:-1] + b"\x63")
    without(not has)
    assert keyfile.is_certificate(other)
    with pytest.raises(primitives.UnsupportedAlgorithm):
        keyfile.certificate(other).public_key()
    with pytest.raises(SchemeError, match="public key is not RSA"):
        pkcs7.wrap(b"options", {"x509s": (other,)})


# Packets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", [True, False])
@pytest.mark.parametrize("key", [RSA, *POINTS.values()], ids=["rsa", *POINTS])
def test_a_packet_of_one_is_opened_by_the_other(key: Any, writer: bool, without: Callable[[bool], None]) -> None:
    public, private = key.public_key().public_bytes(PEM, INFO), key.private_bytes(PEM, PKCS8, SEALED)
    without(writer)
    packet = jwe.wrap(b"options", {"pubkeys": (public,)})
    assert packet
    without(not writer)
    assert jwe.unwrap(packet, {"privkeys": (private,), "privkeys-passwords": (b"secret",)}) == b"options"
    stranger = ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN)
    with pytest.raises(SchemeError, match="No suitable private key"):
        jwe.unwrap(packet, {"privkeys": (stranger,), "privkeys-passwords": (None,)})
    with pytest.raises(SchemeError, match="Wrong password"):
        jwe.unwrap(packet, {"privkeys": (private,), "privkeys-passwords": (b"wrong",)})


@pytest.mark.parametrize("writer", [True, False])
def test_a_packet_for_a_certificate(writer: bool, without: Callable[[bool], None]) -> None:
    without(writer)
    packet = pkcs7.wrap(b"options", {"x509s": (rsa_pair().certificate,)})
    assert packet
    without(not writer)
    assert pkcs7.unwrap(packet, rsa_pair().parameters(certificate=True)) == b"options"
    with pytest.raises(SchemeError, match=r"[Nn]o suitable"):
        pkcs7.unwrap(packet, rsa_pair("second").parameters() | {"x509s": (rsa_pair().certificate,)})


def test_poly1305_of_the_standard() -> None:
    """RFC 8439 section 2.5.2."""
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = secretbox._poly1305(key, b"Cryptographic Forum Research Group")
    assert tag == bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
