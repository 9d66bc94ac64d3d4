"""Keys and certificates by libcrypto.

Names, arguments and exceptions are those of Python's cryptography. A key is an EVP_PKEY, freed with its object. Numbers
become keys, and keys numbers, by way of DER.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
from typing import Any

from runjail.errors import Corrupt
from runjail.image.crypto import der
from runjail.image.crypto.libcrypto.functions import PASSWORD
from runjail.image.crypto.libcrypto.kinds import CURVES, ECDH, ECDSA, OAEP, SHA1, SHA256, EllipticCurve, PKCS1v15
from runjail.image.crypto.libcrypto.library import InvalidSignature, UnsupportedAlgorithm, library, must
from runjail.image.system_library import present

RSA, EC, ED25519 = 6, 408, 1087  # EVP_PKEY_get_base_id(3)
PKCS1, OAEP_PADDING = 1, 4  # EVP_PKEY_CTX_set_rsa_padding(3)
BITS = 0x03  # DER's tag of a BIT STRING
UNKNOWN = "neither RSA nor an elliptic curve"
RSA_OBJECT, EC_OBJECT = der.identifier("1.2.840.113549.1.1.1"), der.identifier("1.2.840.10045.2.1")


# Keys -----------------------------------------------------------------------------------------------------------------


class _Key:
    """An EVP_PKEY."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._free = library().EVP_PKEY_free  # modules are empty when the last keys go

    def __del__(self) -> None:
        self._free(self.handle)

    @property
    def key_size(self) -> int:
        """How many bits it has."""
        return int(library().EVP_PKEY_get_bits(self.handle))

    def der(self) -> bytes:
        """Return its SubjectPublicKeyInfo."""
        size = library().i2d_PUBKEY(self.handle, None)
        must(size)
        out = ctypes.create_string_buffer(size)
        must(library().i2d_PUBKEY(self.handle, ctypes.byref(ctypes.c_void_p(ctypes.addressof(out)))))
        return out.raw

    def public_key(self) -> Any:
        """Return its public half."""
        return load_der_public_key(self.der())

    def _sign(self, data: bytes, hash: SHA256 | None) -> bytes:
        context = present(library().EVP_MD_CTX_new())
        try:
            must(library().EVP_DigestSignInit(context, None, _digest(hash), None, self.handle))
            out, length = ctypes.create_string_buffer(1 << 13), ctypes.c_size_t(1 << 13)
            must(library().EVP_DigestSign(context, out, ctypes.byref(length), data, len(data)))
            return out.raw[: length.value]
        finally:
            library().EVP_MD_CTX_free(context)

    def _verify(self, signature: bytes, data: bytes, hash: SHA256 | None) -> None:
        context = present(library().EVP_MD_CTX_new())
        try:
            must(library().EVP_DigestVerifyInit(context, None, _digest(hash), None, self.handle))
            proof = library().EVP_DigestVerify(context, signature, len(signature), data, len(data))
            must(proof, InvalidSignature())
        finally:
            library().EVP_MD_CTX_free(context)


class RSAPublicKey(_Key):
    """A public RSA key."""

    def encrypt(self, plaintext: bytes, padding: OAEP | PKCS1v15) -> bytes:
        """Encrypt. Raises ValueError."""
        return _padded(self.handle, "encrypt", plaintext, padding)

    def verify(self, signature: bytes, data: bytes, padding: PKCS1v15, algorithm: SHA256) -> None:
        """Raise InvalidSignature unless it is this key's."""
        self._verify(signature, data, algorithm)


class RSAPrivateKey(_Key):
    """A private RSA key."""

    def decrypt(self, ciphertext: bytes, padding: OAEP | PKCS1v15) -> bytes:
        """Decrypt. Raises ValueError; with PKCS1v15 what is wrong may be opened to something random."""
        if len(ciphertext) != (self.key_size + 7) // 8:  # RFC 8017 section 7; libcrypto takes what is shorter, too
            raise ValueError("what was encrypted has another length than the key")
        return _padded(self.handle, "decrypt", ciphertext, padding)

    def sign(self, data: bytes, padding: PKCS1v15, algorithm: SHA256) -> bytes:
        """Sign."""
        return self._sign(data, algorithm)


class _OnCurve(_Key):
    @property
    def curve(self) -> EllipticCurve:
        """Return the curve. Raises ValueError for one that is none of CURVES."""
        out, length = ctypes.create_string_buffer(64), ctypes.c_size_t(0)
        must(library().EVP_PKEY_get_utf8_string_param(self.handle, b"group", out, 64, ctypes.byref(length)))
        return CURVES[out.value]() if out.value in CURVES else EllipticCurve()


class EllipticCurvePublicKey(_OnCurve):
    """A point on an elliptic curve."""

    def public_numbers(self) -> EllipticCurvePublicNumbers:
        """Return its coordinates. Raises ValueError for a point that is written in another way than uncompressed."""
        curve = self.curve
        point = der.read(self.der()).children(der.SEQUENCE, 2)[1].expect(BITS)[1:]
        half = (curve.key_size + 7) // 8
        if point[:1] != b"\x04" or len(point) != 1 + 2 * half:
            raise ValueError("not a point of two coordinates")
        x, y = (int.from_bytes(part, "big") for part in (point[1 : 1 + half], point[1 + half :]))
        return EllipticCurvePublicNumbers(x, y, curve)

    def verify(self, signature: bytes, data: bytes, signature_algorithm: ECDSA) -> None:
        """Raise InvalidSignature unless it is this key's."""
        self._verify(signature, data, signature_algorithm.hash)


class EllipticCurvePrivateKey(_OnCurve):
    """A private key on an elliptic curve."""

    def exchange(self, algorithm: ECDH, peer_public_key: EllipticCurvePublicKey) -> bytes:
        """Return the secret that is shared with the owner of another key. Raises ValueError: another curve."""
        context = present(library().EVP_PKEY_CTX_new(self.handle, None))
        try:
            must(library().EVP_PKEY_derive_init(context))
            must(library().EVP_PKEY_derive_set_peer(context, peer_public_key.handle))
            out, length = ctypes.create_string_buffer(128), ctypes.c_size_t(128)
            must(library().EVP_PKEY_derive(context, out, ctypes.byref(length)))
            return out.raw[: length.value]
        finally:
            library().EVP_PKEY_CTX_free(context)

    def sign(self, data: bytes, signature_algorithm: ECDSA) -> bytes:
        """Sign."""
        return self._sign(data, signature_algorithm.hash)


class Ed25519PublicKey(_Key):
    """A public key of Ed25519."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise InvalidSignature unless it is this key's."""
        self._verify(signature, data, None)


class Ed25519PrivateKey(_Key):
    """A private key of Ed25519."""

    def sign(self, data: bytes) -> bytes:
        """Sign."""
        return self._sign(data, None)


PUBLIC = {RSA: RSAPublicKey, EC: EllipticCurvePublicKey, ED25519: Ed25519PublicKey}
PRIVATE = {RSA: RSAPrivateKey, EC: EllipticCurvePrivateKey, ED25519: Ed25519PrivateKey}


class EllipticCurvePublicNumbers:
    """A point."""

    def __init__(self, x: int, y: int, curve: EllipticCurve) -> None:
        self.x, self.y, self.curve = x, y, curve

    def public_key(self) -> EllipticCurvePublicKey:
        """Return the key. Raises ValueError for a point that is not on the curve."""
        size = (self.curve.key_size + 7) // 8
        try:
            point = b"\x04" + self.x.to_bytes(size, "big") + self.y.to_bytes(size, "big")
        except OverflowError:
            raise ValueError("not a point of this curve") from None
        found = load_der_public_key(info(EC_OBJECT, der.write(der.OBJECT, self.curve.object), point))
        if not isinstance(found, EllipticCurvePublicKey):
            raise ValueError("no point")
        return found


def generate_private_key(curve: EllipticCurve) -> EllipticCurvePrivateKey:
    """Make a key on a curve."""
    context, made = present(library().EVP_PKEY_CTX_new_id(EC, None)), ctypes.c_void_p(None)
    try:
        must(library().EVP_PKEY_keygen_init(context))
        must(library().EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, curve.number))
        must(library().EVP_PKEY_keygen(context, ctypes.byref(made)))
    finally:
        library().EVP_PKEY_CTX_free(context)
    return EllipticCurvePrivateKey(made.value or 0)


def _padded(key: int, what: str, data: bytes, padding: OAEP | PKCS1v15) -> bytes:
    context = present(library().EVP_PKEY_CTX_new(key, None))
    try:
        must(getattr(library(), f"EVP_PKEY_{what}_init")(context))
        if isinstance(padding, OAEP):
            must(library().EVP_PKEY_CTX_set_rsa_padding(context, OAEP_PADDING))
            must(library().EVP_PKEY_CTX_set_rsa_oaep_md(context, _digest(padding.hash)))
            must(library().EVP_PKEY_CTX_set_rsa_mgf1_md(context, _digest(padding.mgf.hash)))
        else:
            must(library().EVP_PKEY_CTX_set_rsa_padding(context, PKCS1))
        out, length = ctypes.create_string_buffer(1 << 13), ctypes.c_size_t(1 << 13)
        must(getattr(library(), f"EVP_PKEY_{what}")(context, out, ctypes.byref(length), data, len(data)))
        return out.raw[: length.value]
    finally:
        library().EVP_PKEY_CTX_free(context)


def _digest(hash: SHA1 | SHA256 | None) -> int | None:
    found: int | None = library().EVP_get_digestbyname(hash.name.encode("ascii")) if hash else None
    return found


# Reading --------------------------------------------------------------------------------------------------------------


def info(algorithm: bytes, parameter: bytes, key: bytes) -> bytes:
    """Return a SubjectPublicKeyInfo (RFC 5280 section 4.1)."""
    named = der.write(der.SEQUENCE, der.write(der.OBJECT, algorithm), parameter)
    return der.write(der.SEQUENCE, named, der.write(BITS, b"\0", key))


def load_der_public_key(data: bytes) -> Any:
    """Return the public key in a SubjectPublicKeyInfo or an RSAPublicKey of PKCS #1.

    Raises ValueError, UnsupportedAlgorithm.
    """
    handle = _read("d2i_PUBKEY", data) or _read("d2i_PUBKEY", info(RSA_OBJECT, der.write(der.NULL), data))
    return _known(handle, PUBLIC)


def load_pem_public_key(data: bytes) -> Any:
    """Return the public key in a PEM block. Raises ValueError, UnsupportedAlgorithm."""
    return load_der_public_key(_inside(data))


def load_der_private_key(data: bytes, password: bytes | None) -> Any:
    """Return the private key in a DER document: PKCS #8, encrypted or not, PKCS #1 or SEC 1.

    Raises ValueError, UnsupportedAlgorithm, TypeError for a password too many or too few.
    """
    if handle := _read("d2i_AutoPrivateKey", data):
        if password is not None:
            library().EVP_PKEY_free(handle)
            raise TypeError("Password was given but private key is not encrypted.")
        return _known(handle, PRIVATE)
    return _private("d2i_PKCS8PrivateKey_bio", data, password)


def load_pem_private_key(data: bytes, password: bytes | None) -> Any:
    """Return the private key in a PEM block, encrypted or not. Raises as load_der_private_key."""
    return _private("PEM_read_bio_PrivateKey", data, password)


class Certificate:
    """An X.509 certificate. tbs_certificate_bytes: what its issuer has signed."""

    def __init__(self, data: bytes) -> None:
        handle = _read("d2i_X509", data)
        if not handle:
            raise ValueError("no certificate")
        key = library().X509_get_pubkey(handle) or 0
        library().X509_free(handle)
        if not key:
            library().ERR_clear_error()
        try:
            self._key = _known(key, PUBLIC)
        except (ValueError, UnsupportedAlgorithm):  # its names may be all that is asked for
            self._key = None
        try:
            self.tbs_certificate_bytes = der.read(data).children(der.SEQUENCE, 3)[0].whole
        except Corrupt as error:
            raise ValueError(str(error)) from None

    def public_key(self) -> Any:
        """Return its key. Raises UnsupportedAlgorithm for one of a kind that nobody here knows."""
        if self._key is None:
            raise UnsupportedAlgorithm(UNKNOWN)
        return self._key


def load_der_x509_certificate(data: bytes) -> Certificate:
    """Return the certificate in a DER document. Raises ValueError."""
    return Certificate(data)


def load_pem_x509_certificate(data: bytes) -> Certificate:
    """Return the certificate in a PEM block. Raises ValueError."""
    return Certificate(_inside(data))


def _inside(block: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(block.split(b"-----")[2].split()), validate=True)
    except (IndexError, binascii.Error):
        raise ValueError("no PEM block") from None


def _read(function: str, data: bytes) -> int:
    """Return what d2i_X509(3) or one of its family makes of a whole document, 0 when it is none."""
    held = ctypes.create_string_buffer(data, len(data))
    at = ctypes.c_void_p(ctypes.addressof(held))
    found: int = getattr(library(), function)(None, ctypes.byref(at), len(data)) or 0
    if found and at.value != ctypes.addressof(held) + len(data):
        (library().X509_free if function == "d2i_X509" else library().EVP_PKEY_free)(found)
        return 0
    if not found:
        library().ERR_clear_error()
    return found


def _known(handle: int, kinds: dict[int, Any]) -> Any:
    """Return a key as an object of its kind, which frees it. Raises ValueError, UnsupportedAlgorithm."""
    if not handle:
        raise ValueError("no key")
    kind = kinds.get(library().EVP_PKEY_get_base_id(handle))
    if kind:
        return kind(handle)
    library().EVP_PKEY_free(handle)
    raise UnsupportedAlgorithm(UNKNOWN)


def _private(function: str, data: bytes, password: bytes | None) -> Any:
    asked: list[bool] = []
    bio = library().BIO_new_mem_buf(data, len(data))
    try:
        handle = getattr(library(), function)(bio, None, _answering(password, asked), None) or 0
    finally:
        library().BIO_free(bio)
    if not handle:
        library().ERR_clear_error()
    if asked and password is None:
        raise TypeError("Password was not given but private key is encrypted")
    found = _known(handle, PRIVATE)
    if password is not None and not asked:
        raise TypeError("Password was given but private key is not encrypted.")
    return found


def _answering(password: bytes | None, asked: list[bool]) -> Any:
    """Return the function that libcrypto asks for a password: without one it would ask at the terminal."""

    def answer(buffer: int, size: int, _encrypting: int, _data: int) -> int:
        asked.append(True)
        if password is None or len(password) > size:
            return -1
        ctypes.memmove(buffer, password, len(password))
        return len(password)

    return PASSWORD(answer)
