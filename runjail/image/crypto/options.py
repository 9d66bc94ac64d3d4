"""What describes one encrypted layer: private options, wrapped for recipients, and public ones.

Both are the JSON objects of ocicrypt's blockcipher package. Key material goes around in its parameter maps: a name,
e.g. `privkeys`, and the values given for it; passwords are a second list of the same length, None where there is none.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from runjail import jsonio
from runjail.errors import Corrupt, ImageError
from runjail.image import model

Parameters = Mapping[str, tuple[bytes | None, ...]]


class Scheme(Protocol):
    """What a module of a key wrapping scheme offers."""

    NAME: str
    NO_KEY: str  # what `unwrap` says when no key opens a packet, whatever the reason
    RECIPIENT: str  # what stands for VALUE in `--recipient NAME:VALUE`, for help texts
    PARAMETERS: frozenset[str]  # names that mean something to it; that of passwords ends in -passwords

    def has_keys(self, parameters: Parameters, /) -> bool:
        """Whether a private key for this scheme is among the parameters."""

    def wrap(self, options: bytes, parameters: Parameters, /) -> bytes | None:
        """Return a packet for all of this scheme's recipients, None without any. Raises SchemeError."""

    def unwrap(self, packet: bytes, parameters: Parameters, /) -> bytes:
        """Return the options in a packet. Raises SchemeError, for malformed packets too."""

    def recipients(self, packet: bytes, /) -> list[str]:
        """Return for whom a packet is, as far as it says. Raises SchemeError for a malformed one."""

    def recipient(self, value: str, /) -> Parameters:
        """Return what `--recipient NAME:value` stands for. Raises ImageError in ocicrypt's words."""

    def recognise(self, content: bytes, password: bytes | None, /) -> tuple[str, ...]:
        """Return under which of its parameters a key file's content belongs, () when it is nothing to this scheme.

        Raises SchemeError for a private key whose password is missing or wrong.
        """


CIPHER = "AES_256_CTR_HMAC_SHA256"  # the one cipher that ocicrypt defines
KEY, NONCE, HMAC = 32, 16, 32  # bytes


class SchemeError(ImageError):
    """A key wrapping scheme cannot make or open a packet. Its text becomes part of a longer one."""


@dataclass(frozen=True)
class PrivateLayerOptions:
    """The options that only recipients learn. digest: of the layer before encryption, as its writer says, or ""."""

    symkey: bytes
    nonce: bytes
    digest: str = ""

    def __repr__(self) -> str:
        return f"Private(symkey=***, nonce=***, digest={self.digest!r})"

    def to_json(self) -> bytes:
        """Return what is wrapped: 193 bytes with a sha256 digest. pkcs11 depends on it being short."""
        nonce = {"nonce": _encode(self.nonce)}
        return model.encode({"symkey": _encode(self.symkey), "digest": self.digest, "cipheroptions": nonce})

    @classmethod
    def from_json(cls, content: bytes) -> PrivateLayerOptions:
        """Parse unwrapped options. Raises Corrupt, never with any of their content in its text.

        ocicrypt would take another nonce, even a random one, where there is none: its result is garbage.
        """
        document = _parse(content, "private options")
        symkey, digest = _bytes(document, "symkey"), model.get(document, "digest")
        if len(symkey) != KEY:
            raise Corrupt(f"invalid key length of {len(symkey)} bytes; need {KEY} bytes")
        nonce = _nonce(document)
        if nonce is None or len(nonce) != NONCE:
            raise Corrupt(f"private options: the nonce has {len(nonce or b'')} bytes; need {NONCE} bytes")
        return cls(symkey, nonce, digest if isinstance(digest, str) else "")


@dataclass(frozen=True)
class PublicLayerOptions:
    """The options that everybody can read and change. nonce: None in what we and ocicrypt write."""

    hmac: bytes
    cipher: str = CIPHER
    nonce: bytes | None = None

    def to_json(self) -> bytes:
        """Return what the annotation holds."""
        return model.encode({"cipher": self.cipher, "hmac": _encode(self.hmac), "cipheroptions": {}})

    @classmethod
    def from_json(cls, content: bytes) -> PublicLayerOptions:
        """Parse an annotation's content, which is hostile. Raises Corrupt, in ocicrypt's words where it has some."""
        document = _parse(content, "public options")
        cipher = model.get(document, "cipher")
        if not cipher:
            raise Corrupt("no cipher type provided")
        if cipher != CIPHER:
            raise Corrupt(f"unsupported cipher type: {str(cipher)[:40]!r}")
        hmac = _bytes(document, "hmac")
        if not hmac:
            raise Corrupt("HMAC is not provided for decryption process")
        return cls(hmac, cipher, _nonce(document))


def given(parameters: Parameters, name: str) -> tuple[bytes, ...]:
    """Return the values of a name, () without any."""
    return tuple(value for value in parameters.get(name) or () if value is not None)


def with_passwords(parameters: Parameters, name: str) -> list[tuple[bytes, bytes | None]]:
    """Return the private keys of a name, each with its password. Raises SchemeError when the lists do not match."""
    keys, passwords = given(parameters, name), parameters.get(f"{name}-passwords") or ()
    if len(keys) != len(passwords):
        raise SchemeError("Private key password array length must be same as that of private keys")
    return list(zip(keys, passwords, strict=True))


def decode(text: str, what: str) -> bytes:
    """Decode base64. Raises Corrupt in ocicrypt's words."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Corrupt(f"could not base64 decode the {what}") from None


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _parse(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = jsonio.loads(content)
    except (ValueError, RecursionError):  # its text quotes the content
        raise Corrupt(f"{what}: not JSON") from None
    if not isinstance(document, dict):
        raise Corrupt(f"{what}: not a JSON object")
    return document


def _bytes(document: dict[str, Any], name: str) -> bytes:
    value = model.get(document, name)
    if value is None:
        return b""
    if not isinstance(value, str):
        raise Corrupt(f"{name} must be base64")
    return decode(value, name)


def _nonce(document: dict[str, Any]) -> bytes | None:
    options = model.get(document, "cipheroptions") or {}
    if not isinstance(options, dict):
        raise Corrupt("cipheroptions must be an object")
    return _bytes(options, "nonce") if model.get(options, "nonce") is not None else None
