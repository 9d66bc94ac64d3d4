"""The scheme pkcs7: CMS EnvelopedData (RFC 5652 section 6) as Go's pkcs7 libraries write it.

Their parameters of AES-GCM are not valid DER: a tag 0x10, which is no SEQUENCE, around a SEQUENCE whose nonce is tagged
[4]. skopeo takes nothing else, so that is written; read are also the correct form (RFC 5084) and AES-CBC, as openssl
writes it. Why a packet did not open is never told: that would be an oracle for RSA's padding.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runjail.errors import Corrupt, ImageError
from runjail.image.crypto import der, keyfile, primitives
from runjail.image.crypto.cipher import decrypt_cbc
from runjail.image.crypto.options import Parameters, SchemeError, given, with_passwords

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

NAME = "pkcs7"
RECIPIENT = "FILE"
PARAMETERS = frozenset(("x509s", "privkeys", "privkeys-passwords"))
NO_KEY = "PKCS7: No suitable private key found for decryption"
ENVELOPED, DATA = der.identifier("1.2.840.113549.1.7.3"), der.identifier("1.2.840.113549.1.7.1")
RSA = der.identifier("1.2.840.113549.1.1.1")
_AES = "2.16.840.1.101.3.4.1."
GCM = {der.identifier(_AES + number): size for number, size in (("6", 16), ("26", 24), ("46", 32))}
CBC = {der.identifier(_AES + number): size for number, size in (("2", 16), ("22", 24), ("42", 32))}
AES_128_GCM = der.identifier(_AES + "6")
CONTEXT = 0xA0  # [0], constructed
ICV = 16  # bytes of a GCM tag


@dataclass(frozen=True)
class Content:
    """Encrypted content. initial: nonce or initialisation vector; size: bytes of its key."""

    gcm: bool
    size: int
    initial: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class Envelope:
    """A packet, decoded. keys: (issuer, serial number, encrypted key) of each recipient with an RSA key."""

    keys: tuple[tuple[bytes, int, bytes], ...]
    content: Content


def has_keys(parameters: Parameters) -> bool:
    """Whether there is a private key; without a certificate too, as in ocicrypt, whose error then names it."""
    return bool(given(parameters, "privkeys"))


def recipients(packet: bytes) -> list[str]:
    """Return what ocicrypt shows for a packet. Raises SchemeError for a malformed one."""
    parse(packet)
    return ["[pkcs7]"]


def recipient(path: str) -> Parameters:
    """Return the certificate in a file. Raises ImageError."""
    content, _mode = keyfile.read(path)
    if not keyfile.is_certificate(content):
        raise ImageError(f"File provided is not an x509 cert: {path}")
    return {"x509s": (content,)}


def recognise(content: bytes, _password: bytes | None) -> tuple[str, ...]:
    """Whether it is a certificate; its private key, which may be in the same file, is jwe's to find."""
    return ("x509s",) if keyfile.is_certificate(content) else ()


def wrap(options: bytes, parameters: Parameters) -> bytes | None:
    """Return a packet for the owners of all certificates, None without any. Raises SchemeError."""
    certificates = [keyfile.certificate(content) for content in given(parameters, "x509s")]
    if not certificates:
        return None
    key, nonce = secrets.token_bytes(GCM[AES_128_GCM]), secrets.token_bytes(12)
    parameter = der.write(0x10, der.write(der.SEQUENCE, der.write(0x84, nonce), der.integer(ICV)))
    algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, AES_128_GCM), parameter)
    ciphertext = der.write(0x80, primitives.AESGCM(key).encrypt(nonce, options, None))
    content = der.write(der.SEQUENCE, der.write(der.OBJECT, DATA), algorithm, ciphertext)
    keys = der.write(der.SET, *(_recipient(key, certificate) for certificate in certificates))
    enveloped = der.write(der.SEQUENCE, der.integer(0), keys, content)
    return der.write(der.SEQUENCE, der.write(der.OBJECT, ENVELOPED), der.write(CONTEXT, enveloped))


def unwrap(packet: bytes, parameters: Parameters) -> bytes:
    """Return what a packet holds. It takes a certificate, to find the recipient, and its key. Raises SchemeError."""
    names = [_name(keyfile.certificate(content)) for content in given(parameters, "x509s")]
    certificates = {(issuer.whole, serial.number()) for issuer, serial in names}
    if not certificates:
        raise SchemeError("no x509 certificates found needed for PKCS7 decryption")
    envelope = parse(packet)
    faults: list[str] = []
    for content, password in with_passwords(parameters, "privkeys"):
        try:
            private = keyfile.private_key(content, password)
        except SchemeError as error:
            faults.append(f"PKCS7: {error}")
            continue
        for issuer, serial, encrypted_key in envelope.keys:
            if isinstance(private, primitives.RSAPrivateKey) and (issuer, serial) in certificates:
                opened = _open(envelope.content, _content_key(private, encrypted_key, envelope.content.size))
                if opened is not None:
                    return opened
    raise SchemeError("; ".join(faults) or NO_KEY)


def parse(packet: bytes) -> Envelope:
    """Parse a packet. Raises SchemeError."""
    try:
        outer = der.read(packet).children(der.SEQUENCE, 2)
        if outer[0].expect(der.OBJECT) != ENVELOPED:
            raise Corrupt("not EnvelopedData")
        parts = outer[1].children(CONTEXT, 1)[0].children(der.SEQUENCE, 3)
        if parts[1].tag == CONTEXT:  # [0]: certificates of the originator, unused
            parts = parts[:1] + parts[2:]
        keys = [_key(entry) for entry in parts[1].children(der.SET) if entry.tag == der.SEQUENCE]
        return Envelope(tuple(key for key in keys if key), _content(parts[2]))
    except (Corrupt, IndexError) as error:
        raise SchemeError(f"could not parse PKCS7 packet: {error}") from None


def _key(entry: der.Element) -> tuple[bytes, int, bytes] | None:
    """Return a KeyTransRecipientInfo that names its recipient by issuer and serial number, None for other kinds."""
    _version, recipient, algorithm, encrypted = entry.children(der.SEQUENCE, 4)[:4]
    if recipient.tag != der.SEQUENCE or algorithm.children(der.SEQUENCE, 1)[0].expect(der.OBJECT) != RSA:
        return None
    issuer, serial = recipient.children(der.SEQUENCE, 2)[:2]
    return issuer.whole, serial.number(), encrypted.expect(der.OCTETS)


def _content(element: der.Element) -> Content:
    _kind, algorithm, sealed = element.children(der.SEQUENCE, 3)[:3]
    name, parameter = algorithm.children(der.SEQUENCE, 2)[:2]
    identifier = name.expect(der.OBJECT)
    if sealed.tag == CONTEXT:  # constructed: octets in pieces
        ciphertext = b"".join(piece.expect(der.OCTETS) for piece in sealed.children(CONTEXT))
    else:
        ciphertext = sealed.expect(0x80)
    if identifier in CBC:
        return Content(False, CBC[identifier], parameter.expect(der.OCTETS), ciphertext)
    if identifier not in GCM:
        raise Corrupt("its content is not encrypted with AES")
    return Content(True, GCM[identifier], _nonce(parameter), ciphertext)


def _nonce(parameter: der.Element) -> bytes:
    """Return the nonce in the parameters of AES-GCM: Go's way, or RFC 5084's."""
    if parameter.tag == 0x10:
        parameter = der.read(parameter.content)
    nonce, *length = parameter.children(der.SEQUENCE, 1)
    if (length[0].number() if length else 12) != ICV or nonce.tag not in (0x84, der.OCTETS) or len(nonce.content) != 12:
        raise Corrupt("AES-GCM with a nonce or tag of another length")
    return nonce.content


def _name(certificate: Certificate) -> tuple[der.Element, der.Element]:
    """Return issuer and serial number, byte for byte as the certificate has them (RFC 5280 section 4.1)."""
    fields = der.read(certificate.tbs_certificate_bytes).children(der.SEQUENCE, 4)
    serial, _signature, issuer = fields[1:4] if fields[0].tag == CONTEXT else fields[:3]  # [0]: the version
    return issuer, serial


def _recipient(key: bytes, certificate: Certificate) -> bytes:
    try:
        public = certificate.public_key()
    except (ValueError, primitives.UnsupportedAlgorithm):  # a kind that the library does not know
        public = None
    if not isinstance(public, primitives.RSAPublicKey):
        raise SchemeError("PKCS7: the certificate's public key is not RSA")
    name = der.write(der.SEQUENCE, *(field.whole for field in _name(certificate)))
    algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, RSA))  # without the NULL that RFC 3370 wants, as Go
    encrypted = der.write(der.OCTETS, public.encrypt(key, primitives.PKCS1v15()))
    return der.write(der.SEQUENCE, der.integer(0), name, algorithm, encrypted)


def _content_key(private: primitives.RSAPrivateKey, encrypted: bytes, size: int) -> bytes:
    """Return the content's key, or a random one: what follows fails alike, whatever was wrong (RFC 3218)."""
    instead = secrets.token_bytes(size)
    try:
        key = private.decrypt(encrypted, primitives.PKCS1v15())
    except ValueError:
        return instead
    return key if len(key) == size else instead


def _open(content: Content, key: bytes) -> bytes | None:
    """Decrypt the content; None when that fails."""
    try:
        if content.gcm:
            return primitives.AESGCM(key).decrypt(content.initial, content.ciphertext, None)
        return decrypt_cbc(key, content.initial, content.ciphertext)
    except (primitives.InvalidTag, ValueError):
        return None
