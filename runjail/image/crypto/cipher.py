"""AES_256_CTR_HMAC_SHA256: AES-256 in counter mode, then HMAC-SHA256 with the same key.

There is no framing: ciphertext is as long as plaintext. The HMAC covers neither the nonce nor the other options.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from runjail.errors import Corrupt, RunjailError
from runjail.image.crypto.options import KEY, NONCE, PrivateLayerOptions, PublicLayerOptions

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
    from cryptography.hazmat.primitives.ciphers.modes import CTR


def require() -> None:
    """Raise RunjailError unless the library is there that knows RSA, elliptic curves, AES and certificates."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        hint = "install the port security/py-cryptography, or: pip install cryptography"
        raise RunjailError(
            "encrypted images need the Python package cryptography, which is not installed", hint
        ) from None


def unvalidated() -> dict[str, bool]:
    """Return what reads an RSA key without proving that it is one; releases before 39 have no such argument."""
    import cryptography

    return {"unsafe_skip_rsa_key_validation": True} if int(cryptography.__version__.partition(".")[0]) >= 39 else {}


def generate(digest: str = "") -> PrivateLayerOptions:
    """Return new private options for a layer with this digest before encryption."""
    return PrivateLayerOptions(secrets.token_bytes(KEY), secrets.token_bytes(NONCE), digest)


def encryptor(private: PrivateLayerOptions) -> CipherContext:
    """Return what encrypts: `update(data) -> bytes`, `update_into(data, buffer) -> int`. It needs no finish."""
    return _cipher(private).encryptor()


def decryptor(private: PrivateLayerOptions) -> CipherContext:
    """Return what decrypts: `update(data) -> bytes`, `update_into(data, buffer) -> int`. Authenticate first."""
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
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC
    from cryptography.hazmat.primitives.padding import PKCS7

    decryptor, unpadder = Cipher(AES(key), CBC(initial)).decryptor(), PKCS7(128).unpadder()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _cipher(private: PrivateLayerOptions) -> Cipher[CTR]:
    require()
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    return Cipher(AES(private.symkey), CTR(private.nonce))
