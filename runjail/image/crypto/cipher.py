"""AES_256_CTR_HMAC_SHA256: AES-256 in counter mode, then HMAC-SHA256 with the same key.

There is no framing: ciphertext is as long as plaintext. The HMAC covers neither the nonce nor the other options.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from runjail.errors import Corrupt
from runjail.image.crypto import primitives
from runjail.image.crypto.options import KEY, NONCE, PrivateLayerOptions, PublicLayerOptions

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext


def generate(digest: str = "") -> PrivateLayerOptions:
    """Return new private options for a layer with this digest before encryption."""
    return PrivateLayerOptions(secrets.token_bytes(KEY), secrets.token_bytes(NONCE), digest)


def encryptor(private: PrivateLayerOptions) -> CipherContext:
    """Return what encrypts: `update(data) -> bytes`. It needs no finish."""
    return _cipher(private).encryptor()


def decryptor(private: PrivateLayerOptions) -> CipherContext:
    """Return what decrypts: `update(data) -> bytes`. Authenticate first."""
    return _cipher(private).decryptor()


class Authenticator:
    """The HMAC over ciphertext that comes piece by piece."""

    def __init__(self, private: PrivateLayerOptions) -> None:
        self._hmac = hmac.new(private.symkey, digestmod="sha256")

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more ciphertext."""
        self._hmac.update(data)

    def public(self) -> PublicLayerOptions:
        """Return the public options of a layer that consists of what was taken."""
        return PublicLayerOptions(self._hmac.digest())

    def verify(self, public: PublicLayerOptions) -> None:
        """Raise Corrupt unless what was taken is what the layer's writer had.

        ocicrypt's text goes on with the HMAC that would be right: whoever reads it can make other content genuine.
        """
        if not hmac.compare_digest(self._hmac.digest(), public.hmac):
            raise Corrupt("could not properly decrypt byte stream; its HMAC is not that of the public options")


def decrypt_cbc(key: bytes, initial: bytes, ciphertext: bytes) -> bytes:
    """Return the plaintext of AES-CBC with the padding of PKCS #7: what key wrapping packets may use inside.

    Raises ValueError.
    """
    decryptor, unpadder = (
        primitives.Cipher(primitives.AES(key), primitives.CBC(initial)).decryptor(),
        primitives.PKCS7(128).unpadder(),
    )
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _cipher(private: PrivateLayerOptions) -> primitives.Cipher[primitives.CTR]:
    return primitives.Cipher(primitives.AES(private.symkey), primitives.CTR(private.nonce))
