"""The scheme jwe: JSON Web Encryption (RFC 7516, algorithms of RFC 7518 sections 4 and 5).

Written with primitives and not with jwcrypto: opening a packet takes 1 ms instead of 190, at every start of a
container, and a hostile packet meets the few algorithms that ocicrypt has and neither `zip` nor `crit`. jwcrypto and
go-jose (in skopeo) are what the tests compare it with.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runjail import jsonio
from runjail.errors import ImageError
from runjail.image import model
from runjail.image.crypto import jwk, keyfile, primitives
from runjail.image.crypto.cipher import decrypt_cbc
from runjail.image.crypto.keyfile import PublicKey
from runjail.image.crypto.options import Parameters, SchemeError, given, with_passwords

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

NAME = "jwe"
RECIPIENT = "FILE"
PARAMETERS = frozenset(("pubkeys", "privkeys", "privkeys-passwords"))
RSA = {"RSA-OAEP": "SHA1", "RSA-OAEP-256": "SHA256"}  # by hash; the first is what every tool writes
AGREEMENT = {"ECDH-ES+A128KW": 16, "ECDH-ES+A192KW": 24, "ECDH-ES+A256KW": 32}  # bytes of the wrapping key
GCM = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}  # bytes of the content's key
CBC = {"A128CBC-HS256": "sha256", "A192CBC-HS384": "sha384", "A256CBC-HS512": "sha512"}  # its halves: HMAC and AES
MOST_RECIPIENTS = 512
NO_KEY = "JWE: No suitable private key found for decryption"


@dataclass(frozen=True)
class Message:
    """A JWE, decoded. additional: the authenticated data; recipients: (header, encrypted key) of each."""

    recipients: tuple[tuple[dict[str, Any], bytes], ...]
    iv: bytes
    ciphertext: bytes
    tag: bytes
    additional: bytes


def has_keys(parameters: Parameters) -> bool:
    """Whether there is a private key."""
    return bool(given(parameters, "privkeys"))


def recipients(packet: bytes) -> list[str]:
    """Return what ocicrypt shows for a packet: it names nobody. Raises SchemeError for a malformed one."""
    parse(packet)
    return ["[jwe]"]


def recipient(path: str) -> Parameters:
    """Return the public key in a file: PEM, DER or JWK. Raises ImageError."""
    content, _mode = keyfile.read(path)
    if not keyfile.is_public(content):
        raise ImageError(f"File provided is not a public key: {path}")
    return {"pubkeys": (content,)}


def recognise(content: bytes, password: bytes | None) -> tuple[str, ...]:
    """Whether it is a private key. Raises SchemeError when its password is missing or wrong."""
    return ("privkeys",) if keyfile.is_private(content, password) else ()


def wrap(options: bytes, parameters: Parameters) -> bytes | None:
    """Return a JWE for all public keys, None without any. Raises SchemeError for a key that cannot be used.

    One recipient makes a flattened JWE, several a general one. Content is always encrypted with A256GCM.
    """
    keys = [keyfile.public_key(content) for content in given(parameters, "pubkeys")]
    if not keys:
        return None
    content_key, iv = secrets.token_bytes(32), secrets.token_bytes(12)
    wrapped = [_wrap_key(content_key, key) for key in keys]
    shared: dict[str, Any] = {"enc": "A256GCM"}
    if len(wrapped) == 1:
        header, encrypted_key = wrapped[0]
        shared = dict(sorted((shared | header).items()))
        places: dict[str, Any] = {"encrypted_key": jwk.encode(encrypted_key)}
    else:
        places = {"recipients": [{"header": header, "encrypted_key": jwk.encode(key)} for header, key in wrapped]}
    protected = jwk.encode(model.encode(shared))
    sealed = primitives.AESGCM(content_key).encrypt(iv, options, protected.encode("ascii"))
    parts = {"iv": jwk.encode(iv), "ciphertext": jwk.encode(sealed[:-16]), "tag": jwk.encode(sealed[-16:])}
    return model.encode({"protected": protected} | places | parts)


def unwrap(packet: bytes, parameters: Parameters) -> bytes:
    """Return what a JWE holds, trying every private key on every recipient. Raises SchemeError."""
    message = parse(packet)
    faults: list[str] = []
    for content, password in with_passwords(parameters, "privkeys"):
        try:
            key = keyfile.private_key(content, password)
        except SchemeError as error:
            faults.append(f"JWE: {error}")
            continue
        for header, encrypted_key in message.recipients:
            try:
                return _open(message, str(header.get("enc")), _unwrap_key(header, encrypted_key, key))
            except (ValueError, ArithmeticError):  # the wrong key or a damaged packet: they cannot be told apart
                continue
    raise SchemeError("; ".join(faults) or NO_KEY)


def parse(packet: bytes) -> Message:
    """Parse a JWE in JSON or compact form. Raises SchemeError.

    go-jose writes a general one with a stray member `encrypted_key`, which RFC 7516 7.2.1 forbids; it is passed over.
    """
    try:
        text = packet.decode("ascii")
        document = jsonio.loads(text) if text.lstrip()[:1] == "{" else _compact(text)
        return _message(document)
    except (ValueError, RecursionError):
        raise SchemeError("jose.ParseEncrypted failed") from None


def _compact(text: str) -> dict[str, Any]:
    parts = text.split(".")
    if len(parts) != 5:
        raise ValueError("not five parts")
    return dict(zip(("protected", "encrypted_key", "iv", "ciphertext", "tag"), parts, strict=True))


def _message(document: dict[str, Any]) -> Message:
    """Return the decoded members. Raises ValueError for what no sane packet has, `crit` and `zip` among it."""
    protected = document.get("protected") or ""
    shared = _object(jsonio.loads(jwk.decode(protected))) if protected else {}
    shared = _object(document.get("unprotected") or {}) | shared
    entries = document.get("recipients") or [document]
    if not isinstance(entries, list) or len(entries) > MOST_RECIPIENTS:
        raise ValueError("recipients must be an array, and not long")
    found = []
    for entry in map(_object, entries):
        header = _object(entry.get("header") or {}) | shared
        if "crit" in header or "zip" in header:
            raise ValueError("a header that we must understand and do not")
        found.append((header, jwk.decode(entry.get("encrypted_key"))))
    iv, ciphertext, tag = (jwk.decode(document.get(name)) for name in ("iv", "ciphertext", "tag"))
    aad = document.get("aad")
    additional = f"{protected}.{aad}" if aad else protected
    return Message(tuple(found), iv, ciphertext, tag, additional.encode("ascii"))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _wrap_key(content_key: bytes, recipient: PublicKey) -> tuple[dict[str, Any], bytes]:
    """Return the header and the encrypted key for one recipient. Raises SchemeError."""
    key = recipient.key
    usual = "RSA-OAEP" if isinstance(key, primitives.RSAPublicKey) else "ECDH-ES+A256KW"
    header: dict[str, Any] = {"alg": recipient.algorithm or usual}
    header |= {"kid": recipient.key_id} if recipient.key_id else {}
    if isinstance(key, primitives.RSAPublicKey) and header["alg"] in RSA:
        return header, key.encrypt(content_key, _oaep(header["alg"]))
    if isinstance(key, primitives.EllipticCurvePublicKey) and header["alg"] in AGREEMENT:
        return _agree_and_wrap(content_key, key, header)
    kind = type(key).__name__.removesuffix("PublicKey")
    raise SchemeError(f"{header['alg'][:40]!r} is an unsupported JWE key algorithm for this key ({kind})")


def _agree_and_wrap(content_key: bytes, key: Any, header: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        ephemeral = primitives.generate_private_key(key.curve)
        header["epk"] = jwk.of_public(ephemeral.public_key())
    except ValueError as error:
        raise SchemeError(f"JWE: {error}") from None
    return header, primitives.aes_key_wrap(_derive(ephemeral.exchange(primitives.ECDH(), key), header), content_key)


def _unwrap_key(header: dict[str, Any], encrypted_key: bytes, key: PrivateKeyTypes) -> bytes:
    """Return the content's key. Raises ValueError when this is not the key for it, or nothing is."""
    algorithm = header.get("alg")
    if isinstance(key, primitives.RSAPrivateKey) and isinstance(algorithm, str) and algorithm in RSA:
        return key.decrypt(encrypted_key, _oaep(algorithm))
    if not (
        isinstance(key, primitives.EllipticCurvePrivateKey) and isinstance(algorithm, str) and algorithm in AGREEMENT
    ):
        raise ValueError("not for this kind of key")
    other = jwk.public_key(_object(header.get("epk")) | {"kty": "EC"})
    if not isinstance(other, primitives.EllipticCurvePublicKey):
        raise ValueError("the ephemeral key is on no curve")
    try:
        return primitives.aes_key_unwrap(_derive(key.exchange(primitives.ECDH(), other), header), encrypted_key)
    except primitives.InvalidUnwrap:
        raise ValueError("another key") from None


def _derive(secret: bytes, header: dict[str, Any]) -> bytes:
    """Return the key that wraps: Concat KDF over an agreed secret (RFC 7518 section 4.6.2), one round of SHA-256."""
    size = AGREEMENT[header["alg"]]
    parties = (header["alg"].encode("ascii"), *(jwk.decode(header.get(name, "")) for name in ("apu", "apv")))
    info = b"".join(len(party).to_bytes(4, "big") + party for party in parties)
    first = (1).to_bytes(4, "big")
    return hashlib.sha256(first + secret + info + (size * 8).to_bytes(4, "big")).digest()[:size]


def _oaep(algorithm: str) -> primitives.OAEP:
    kind = primitives.SHA1 if RSA[algorithm] == "SHA1" else primitives.SHA256
    return primitives.OAEP(primitives.MGF1(kind()), kind(), None)


def _open(message: Message, encryption: str, key: bytes) -> bytes:
    """Decrypt the content. Raises ValueError."""
    if encryption in CBC:
        return _open_cbc(message, CBC[encryption], key)
    if len(key) != GCM.get(encryption) or len(message.iv) != 12 or len(message.tag) != 16:
        raise ValueError("unsupported content encryption, or sizes that do not fit")
    try:
        return primitives.AESGCM(key).decrypt(message.iv, message.ciphertext + message.tag, message.additional)
    except primitives.InvalidTag:
        raise ValueError("not genuine") from None


def _open_cbc(message: Message, algorithm: str, key: bytes) -> bytes:
    """Decrypt AES_CBC_HMAC_SHA2 (RFC 7518 section 5.2.2.2): the tag is checked before anything is decrypted."""
    half = len(key) // 2
    length = (len(message.additional) * 8).to_bytes(8, "big")
    signed = message.additional + message.iv + message.ciphertext + length
    tag = hmac.digest(key[:half], signed, algorithm)[:half]
    if f"sha{len(key) * 8}" != algorithm or not hmac.compare_digest(tag, message.tag):
        raise ValueError("not genuine")
    return decrypt_cbc(key[half:], message.iv, message.ciphertext)
