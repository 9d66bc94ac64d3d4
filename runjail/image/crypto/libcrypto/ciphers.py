"""AES by libcrypto: CTR and CBC, GCM, and the wrapping of keys (RFC 3394); EVP_EncryptInit(3)."""

from __future__ import annotations

import ctypes

from runjail.image.crypto.libcrypto.library import InvalidTag, InvalidUnwrap, library, must
from runjail.image.system_library import present

GCM_GET_TAG, GCM_SET_TAG = 0x10, 0x11
WRAP_ALLOW = 0x1
TAG = 16


class Cipher:
    """A symmetric cipher with its mode: what `encryptor` and `decryptor` return has `update` and `finalize`."""

    def __init__(self, algorithm: AES, mode: CTR | CBC) -> None:
        self._name, self._key, self._initial = f"aes-{len(algorithm.key) * 8}-{mode.name}", algorithm.key, mode.initial

    def encryptor(self) -> Context:
        """Return what encrypts."""
        return Context(self._name, self._key, self._initial, encrypt=True)

    def decryptor(self) -> Context:
        """Return what decrypts."""
        return Context(self._name, self._key, self._initial, encrypt=False)


class AES:
    """Its key: 16, 24 or 32 bytes. Raises ValueError for others."""

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise ValueError(f"no AES key has {len(key)} bytes")
        self.key = key


class CTR:
    """Counter mode."""

    name = "ctr"

    def __init__(self, nonce: bytes) -> None:
        self.initial = _block(nonce)


class CBC:
    """Cipher block chaining, without padding."""

    name = "cbc"

    def __init__(self, initialization_vector: bytes) -> None:
        self.initial = _block(initialization_vector)


def _block(data: bytes) -> bytes:
    if len(data) != 16:
        raise ValueError(f"a nonce or initial vector of {len(data)} bytes")
    return data


class Context:
    """One message that is encrypted or decrypted, piece by piece; EVP_CIPHER_CTX."""

    def __init__(self, name: str, key: bytes, initial: bytes | None, *, encrypt: bool, flags: int = 0) -> None:
        self._library = library()
        self._context = present(self._library.EVP_CIPHER_CTX_new())
        cipher = self._library.EVP_get_cipherbyname(name.encode("ascii"))
        self._library.EVP_CIPHER_CTX_set_flags(self._context, flags)
        must(self._library.EVP_CipherInit_ex(self._context, cipher, None, key, initial, int(encrypt)) if cipher else 0)
        self._library.EVP_CIPHER_CTX_set_padding(self._context, 0)

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._library.EVP_CIPHER_CTX_free(self._context)

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take more and return what came out. Raises ValueError."""
        given = bytes(data)
        out, length = ctypes.create_string_buffer(len(given) + 32), ctypes.c_int(0)
        must(self._library.EVP_CipherUpdate(self._context, out, ctypes.byref(length), given, len(given)))
        return out.raw[: length.value]

    def associate(self, data: bytes) -> None:
        """Take what is authenticated and not encrypted, before everything else."""
        if data:
            must(self._library.EVP_CipherUpdate(self._context, None, ctypes.byref(ctypes.c_int(0)), data, len(data)))

    def finalize(self, error: Exception | None = None) -> bytes:
        """End it. Raises `error`, ValueError by default: a message that is not whole or not genuine."""
        out, length = ctypes.create_string_buffer(32), ctypes.c_int(0)
        must(self._library.EVP_CipherFinal_ex(self._context, out, ctypes.byref(length)), error)
        return out.raw[: length.value]

    def tag(self) -> bytes:
        """Return the tag of what was encrypted with GCM."""
        out = ctypes.create_string_buffer(TAG)
        must(self._library.EVP_CIPHER_CTX_ctrl(self._context, GCM_GET_TAG, TAG, out))
        return out.raw

    def expect(self, tag: bytes) -> None:
        """Say which tag `finalize` shall find with GCM."""
        must(self._library.EVP_CIPHER_CTX_ctrl(self._context, GCM_SET_TAG, TAG, tag))


class AESGCM:
    """AES-GCM with a nonce of 12 bytes and a tag of 16 at the end of the ciphertext."""

    def __init__(self, key: bytes) -> None:
        self._name, self._key = f"aes-{len(AES(key).key) * 8}-gcm", key

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return ciphertext and tag."""
        context = Context(self._name, self._key, self._checked(nonce), encrypt=True)
        context.associate(associated_data or b"")
        return context.update(data) + context.finalize() + context.tag()

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the plaintext. Raises InvalidTag, and nothing is returned of what is not genuine."""
        if len(data) < TAG:
            raise InvalidTag
        context = Context(self._name, self._key, self._checked(nonce), encrypt=False)
        context.associate(associated_data or b"")
        plain = context.update(data[:-TAG])
        context.expect(data[-TAG:])
        return plain + context.finalize(InvalidTag())

    @staticmethod
    def _checked(nonce: bytes) -> bytes:
        if len(nonce) != 12:
            raise ValueError(f"a nonce of {len(nonce)} bytes")
        return nonce


class PKCS7:
    """The padding of blocks; block_size: in bits."""

    def __init__(self, block_size: int) -> None:
        self._size = block_size // 8
        self._data = b""

    def unpadder(self) -> PKCS7:
        """Return what takes padding off: all data comes in one piece."""
        return self

    def update(self, data: bytes) -> bytes:
        """Take the data; `finalize` returns it."""
        self._data = data
        return b""

    def finalize(self) -> bytes:
        """Return the data without padding. Raises ValueError when it is not padded."""
        count = self._data[-1] if self._data else 0
        if not 0 < count <= self._size or self._data[-count:] != bytes((count,)) * count:
            raise ValueError("Invalid padding bytes.")
        return self._data[:-count]


def aes_key_wrap(wrapping_key: bytes, key_to_wrap: bytes) -> bytes:
    """Wrap a key with AES (RFC 3394)."""
    return Context(_wrapping(wrapping_key), wrapping_key, None, encrypt=True, flags=WRAP_ALLOW).update(key_to_wrap)


def aes_key_unwrap(wrapping_key: bytes, wrapped_key: bytes) -> bytes:
    """Return the key that was wrapped (RFC 3394). Raises InvalidUnwrap."""
    if len(wrapped_key) < 24 or len(wrapped_key) % 8:
        raise InvalidUnwrap
    try:
        return Context(_wrapping(wrapping_key), wrapping_key, None, encrypt=False, flags=WRAP_ALLOW).update(wrapped_key)
    except ValueError:
        raise InvalidUnwrap from None


def _wrapping(key: bytes) -> str:
    return f"id-aes{len(AES(key).key) * 8}-wrap"
