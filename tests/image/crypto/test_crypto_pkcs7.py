"""The scheme pkcs7: Go's form of CMS is written, that and the correct forms are read; openssl writes some of them."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.image.crypto import der, pkcs7
from runjail.image.crypto.options import SchemeError

pytest.importorskip("cryptography", reason="needs cryptography")
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.image import key_fixtures

OPTIONS = b'{"symkey":"c2VjcmV0","digest":"","cipheroptions":{}}'
NO_KEY = "PKCS7: No suitable private key found for decryption"
QUIRK = bytes.fromhex("1013 3011 840c".replace(" ", ""))


def packet_for(*pairs: key_fixtures.Pair) -> bytes:
    packet = pkcs7.wrap(OPTIONS, {"x509s": tuple(pair.certificate for pair in pairs)})
    assert packet is not None
    return packet


def mine() -> dict[str, tuple[bytes | None, ...]]:
    return key_fixtures.rsa_pair().parameters(certificate=True)


def test_go_takes_this_form() -> None:
    """The parameters of AES-GCM are those that Go's library wants; the rest is proper DER."""
    packet = packet_for(key_fixtures.rsa_pair())
    at = packet.index(QUIRK)

    assert packet[at + len(QUIRK) + 12 :][:3] == bytes.fromhex("020110")
    assert packet[at + len(QUIRK) + 15] == 0x80
    assert der.read(packet).whole == packet
    assert pkcs7.unwrap(packet, mine()) == OPTIONS


def test_several_recipients() -> None:
    """Each opens it with certificate and key; a stranger does not, nor does one of both with the other's."""
    pairs = [key_fixtures.rsa_pair(), key_fixtures.rsa_pair("other")]
    packet = packet_for(*pairs)
    stranger = key_fixtures.rsa_pair("stranger")

    assert [pkcs7.unwrap(packet, pair.parameters(certificate=True)) for pair in pairs] == [OPTIONS] * 2
    for key, certificate in ((stranger, stranger), (stranger, pairs[0]), (pairs[0], stranger)):
        keys = key.parameters() | {"x509s": (certificate.certificate,)}
        with pytest.raises(SchemeError, match=NO_KEY):
            pkcs7.unwrap(packet, keys)


def test_the_right_key_among_others() -> None:
    """Locked keys and elliptic curves are passed over."""
    pair = key_fixtures.rsa_pair()
    keys = (key_fixtures.ec_pair().private, key_fixtures.rsa_pair("other").encoded(password=b"lost"), pair.private)
    certificates = (key_fixtures.rsa_pair("other").certificate, pair.certificate)
    parameters = {"privkeys": keys, "privkeys-passwords": (None, None, None), "x509s": certificates}

    assert pkcs7.unwrap(packet_for(pair), parameters) == OPTIONS


def test_what_is_missing() -> None:
    """ocicrypt's words without certificate, or without the key's password."""
    pair = key_fixtures.rsa_pair()
    with pytest.raises(SchemeError, match="no x509 certificates found needed for PKCS7 decryption"):
        pkcs7.unwrap(packet_for(pair), pair.parameters())
    locked = {"privkeys": (pair.encoded(password=b"x"),), "privkeys-passwords": (None,), "x509s": (pair.certificate,)}
    with pytest.raises(SchemeError, match="PKCS7: Missing password for encrypted private key"):
        pkcs7.unwrap(packet_for(pair), locked)
    with pytest.raises(SchemeError, match="the certificate's public key is not RSA"):
        packet_for(key_fixtures.ec_pair())
    assert pkcs7.wrap(OPTIONS, {"pubkeys": (pair.public,)}) is None
    assert pkcs7.recipients(packet_for(pair)) == ["[pkcs7]"]


def envelope(algorithm: bytes, content: bytes, key: bytes) -> bytes:
    """Return a packet for the first key around any content."""
    from cryptography import x509

    recipient = pkcs7._recipient(key, x509.load_pem_x509_certificate(key_fixtures.rsa_pair().certificate))
    sealed = der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.DATA), algorithm, content)
    enveloped = der.write(der.SEQUENCE, der.integer(0), der.write(der.SET, recipient), sealed)
    return der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.ENVELOPED), der.write(0xA0, enveloped))


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("form", ["quirk", "standard"])
@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_forms_of_gcm(size: int, form: str, pieces: int) -> None:
    """Parameters as Go has them and as RFC 5084 has them; octets in one piece, or several as older libraries write."""
    key, nonce = os.urandom(size), os.urandom(12)
    identifier = next(name for name, length in pkcs7.GCM.items() if length == size)
    inner = der.write(der.SEQUENCE, der.write(0x84 if form == "quirk" else der.OCTETS, nonce), der.integer(16))
    algorithm = der.write(der.OBJECT, identifier) + (der.write(0x10, inner) if form == "quirk" else inner)
    sealed = AESGCM(key).encrypt(nonce, OPTIONS, None)
    if pieces:
        step = len(sealed) // pieces + 1
        parts = [der.write(der.OCTETS, sealed[at : at + step]) for at in range(0, len(sealed), step)]
        content = der.write(0xA0, *parts)
    else:
        content = der.write(0x80, sealed)

    assert pkcs7.unwrap(envelope(der.write(der.SEQUENCE, algorithm), content, key), mine()) == OPTIONS


def test_gcm_of_other_sizes() -> None:
    """Tags shorter than 16 bytes are easier to forge; RFC 5084's default is 12."""
    nonce = der.write(der.OCTETS, bytes(12))
    for inner in (nonce, nonce + der.integer(4), der.write(der.OCTETS, bytes(8)) + der.integer(16)):
        algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.AES_128_GCM), der.write(der.SEQUENCE, inner))
        with pytest.raises(SchemeError, match="a nonce or tag of another length"):
            pkcs7.unwrap(envelope(algorithm, der.write(0x80, b"x" * 40), b"k" * 16), mine())


@pytest.mark.peers("openssl")
@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc"])
def test_what_openssl_writes(tmp_path: Path, cipher: str) -> None:
    """CMS with AES-CBC, for two recipients."""
    paths = [
        pair.write(tmp_path, name) for name, pair in (("a", key_fixtures.rsa_pair()), ("b", key_fixtures.rsa_pair("b")))
    ]
    command = ["openssl", "cms", "-encrypt", "-binary", "-outform", "DER", f"-{cipher}"]
    made = subprocess.run([*command, *(path["certificate"] for path in paths)], input=OPTIONS, capture_output=True)

    assert made.returncode == 0, made.stderr
    assert pkcs7.unwrap(made.stdout, mine()) == OPTIONS
    last = len(made.stdout) - 17  # of the block before the last: it changes the padding's length, and that alone
    with pytest.raises(SchemeError, match=NO_KEY):
        pkcs7.unwrap(made.stdout[:last] + bytes([made.stdout[last] ^ 0x80]) + made.stdout[last + 1 :], mine())


@pytest.mark.peers("openssl")
def test_what_openssl_writes_and_we_do_not_read(tmp_path: Path) -> None:
    """DES, and recipients that are named another way, are told apart from a broken packet or nobody's."""
    path = key_fixtures.rsa_pair().write(tmp_path, "a")["certificate"]
    command = ["openssl", "cms", "-encrypt", "-binary", "-outform", "DER"]
    for more, why in ((["-des3"], "its content is not encrypted with AES"), (["-aes128", "-keyid"], NO_KEY)):
        made = subprocess.run([*command, *more, path], input=OPTIONS, capture_output=True, check=True)
        with pytest.raises(SchemeError, match=why):
            pkcs7.unwrap(made.stdout, mine())


def test_a_key_of_another_length() -> None:
    """AES-128 means 16 bytes, even when everything else would fit a longer key."""
    key, nonce = os.urandom(32), bytes(12)
    parameter = der.write(der.SEQUENCE, der.write(der.OCTETS, nonce), der.integer(16))
    algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.AES_128_GCM), parameter)
    content = der.write(0x80, AESGCM(key).encrypt(nonce, OPTIONS, None))

    with pytest.raises(SchemeError, match=NO_KEY):
        pkcs7.unwrap(envelope(algorithm, content, key), mine())


def test_every_failure_looks_alike() -> None:
    """A bad RSA padding, a key of another length and bad content give one error: no oracle for PKCS #1 v1.5."""
    nonce = der.write(der.SEQUENCE, der.write(der.OCTETS, bytes(12)), der.integer(16))
    algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.AES_128_GCM), nonce)
    wrong_content = envelope(algorithm, der.write(0x80, b"x" * 40), b"k" * 16)
    wrong_length = envelope(algorithm, der.write(0x80, b"x" * 40), b"k" * 15)
    good = packet_for(key_fixtures.rsa_pair())
    at = good.index(der.write(der.OBJECT, pkcs7.RSA)) + 20
    wrong_padding = good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]

    texts = set()
    for packet in (wrong_content, wrong_length, wrong_padding):
        with pytest.raises(SchemeError) as caught:
            pkcs7.unwrap(packet, mine())
        texts.add(str(caught.value))
    assert texts == {NO_KEY}


@given(st.binary(max_size=100))
def test_garbage_is_a_scheme_error(packet: bytes) -> None:
    with pytest.raises(SchemeError):
        pkcs7.unwrap(packet, mine())


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=3), st.booleans())
def test_damaged_packets(position: int, what: bytes, insert: bool) -> None:
    """Bytes changed, inserted or cut off anywhere: never another plaintext, and no other kind of error."""
    good = packet_for(key_fixtures.rsa_pair())
    at = position % len(good)
    damaged = good[:at] + what + good[at + (0 if insert else len(what)) :]
    try:
        assert pkcs7.unwrap(damaged, mine()) == OPTIONS
    except SchemeError:
        pass
