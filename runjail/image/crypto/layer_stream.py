"""Encrypting and decrypting whole blobs: nothing is emitted before all is verified.

Decrypting takes two passes. ocicrypt emits plaintext while it reads and tells at the end whether it was genuine. Size,
digest and HMAC are over the ciphertext, so one pass checks them all; the second pass, over the same open file,
decrypts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from queue import Queue
from threading import Thread
from typing import Self

from runjail import log
from runjail.errors import Corrupt, ImageError, reason
from runjail.files import write_all
from runjail.image import digest as digests
from runjail.image import media_types
from runjail.image.crypto import cipher
from runjail.image.crypto.ocicrypt import strip
from runjail.image.crypto.options import PrivateLayerOptions, PublicLayerOptions
from runjail.image.model import Descriptor

BLOCK = 1 << 20
Report = Callable[[int, str], None]  # how many bytes more, and what was done to them


def _nobody(_count: int, _doing: str) -> None:
    """Report to nobody."""


def encrypt_blob(
    source_fd: int,
    out_fd: int,
    descriptor: Descriptor,
    digest_of_plain: str = "",
    report: Report = _nobody,
    *,
    known: bool = False,
) -> tuple[PrivateLayerOptions, PublicLayerOptions, Descriptor]:
    """Encrypt a layer blob from the start of an open file under a new key.

    digest_of_plain: what the private options say of the plaintext, the descriptor's digest by default. Returns the
    options, to be wrapped, and the descriptor of what was written: OCI's encrypted media type, sha256 digest, the same
    size and annotations. Raises ImageError, Corrupt when the source is not what is described: damage must not become
    genuine. known: this process has verified the source already.
    """
    private = cipher.generate(digest_of_plain or descriptor.digest)
    encryptor, authenticator = cipher.encryptor(private), cipher.Authenticator(private)
    try:
        _require_size(source_fd, descriptor)
        with closing(_content(source_fd, descriptor, known)) as blocks, _HashThread(hashlib.sha256()) as written:
            for block in blocks:
                ciphertext = encryptor.update(block)
                written.update(ciphertext)
                authenticator.update(ciphertext)
                write_all(out_fd, ciphertext)
                report(len(block), "encrypted")
    except OSError as error:
        raise ImageError(f"encrypting layer {descriptor.digest}: {reason(error)}") from None
    digest = f"sha256:{written.hexdigest()}"
    encrypted = descriptor.replace(media_type=encrypted_type(descriptor.media_type), digest=digest)
    return private, authenticator.public(), encrypted


def decrypt_blob(
    source_fd: int,
    out_fd: int,
    private: PrivateLayerOptions,
    public: PublicLayerOptions,
    descriptor: Descriptor,
    diff_id: str = "",
    report: Report = _nobody,
) -> Descriptor:
    """Decrypt a layer blob; nothing is written unless all of it is genuine.

    diff_id: the layer's, when it is known; only then can the digest in the private options be checked. Returns the
    descriptor of the plaintext: media type without its suffix, sha256 digest, the same size, no annotations of
    encryption. Raises Corrupt, ImageError.
    """
    verify(source_fd, private, public, descriptor, report=report)
    try:
        with _HashThread(hashlib.sha256()) as plain:
            for block in decrypted(source_fd, private):
                plain.update(block)
                write_all(out_fd, block)
                report(len(block), "decrypted")
    except OSError as error:
        raise ImageError(f"decrypting layer {descriptor.digest}: {reason(error)}") from None
    digest = f"sha256:{plain.hexdigest()}"
    if diff_id:
        check_digest(private, descriptor, digest, diff_id)
    kind = descriptor.media_type.removesuffix(media_types.ENCRYPTED)
    return descriptor.replace(media_type=kind, digest=digest, annotations=strip(descriptor.annotations))


def verify(
    source_fd: int,
    private: PrivateLayerOptions,
    public: PublicLayerOptions,
    descriptor: Descriptor,
    *,
    known: bool = False,
    report: Report = _nobody,
) -> None:
    """Check a whole encrypted blob: size, digest and HMAC. Raises Corrupt, ImageError when it cannot be read.

    known: the digest was verified already, as the blob came in.
    """
    authenticator = cipher.Authenticator(private)
    try:
        _require_size(source_fd, descriptor)
        with closing(_content(source_fd, descriptor, known)) as blocks:
            for block in blocks:
                authenticator.update(block)
                report(len(block), "verified")
    except OSError as error:
        raise ImageError(f"reading blob {descriptor.digest}: {reason(error)}") from None
    try:
        authenticator.verify(public)
    except Corrupt as error:
        raise Corrupt(f"reading blob {descriptor.digest}: {error}") from None


def decrypted(source_fd: int, private: PrivateLayerOptions) -> Iterator[bytes]:
    """Yield the plaintext of a blob that `verify` found genuine, from its start. Raises OSError."""
    decryptor = cipher.decryptor(private)
    return (decryptor.update(block) for block in _blocks(source_fd))


def check_digest(private: PrivateLayerOptions, descriptor: Descriptor, *found: str) -> None:
    """Warn when the digest in the private options is none of those that the layer has.

    No more than that, because writers differ: ocicrypt never checks it, imgcrypt names the compressed blob, and skopeo
    what it had before it compressed. A layer is what its diffID says.
    """
    if private.digest and private.digest not in found:
        log.warning(f"layer {descriptor.digest} was {private.digest[:80]} before encryption, says who encrypted it")


def encrypted_type(media_type: str) -> str:
    """Return the media type of an encrypted layer. Raises ImageError for what is no layer that can be encrypted.

    docker's types become OCI's, as in imgcrypt; docker never had encrypted ones.
    """
    compression = media_types.layer_compression(media_type)
    if compression is None or media_types.is_encrypted(media_type) or media_type.startswith(media_types.DOCKER_FOREIGN):
        raise ImageError(f"{media_type}: content of this media type is not encrypted")
    if media_type.startswith(media_types.DOCKER_LAYER):
        return media_types.oci_layer(compression, encrypted=True)
    return media_type + media_types.ENCRYPTED


def _require_size(fd: int, descriptor: Descriptor) -> None:
    size = os.fstat(fd).st_size
    if size != descriptor.size:
        raise Corrupt(f"reading blob {descriptor.digest}: {size} bytes long, not {descriptor.size}")


def _require_digest(found: _HashThread, descriptor: Descriptor) -> None:
    if found.hexdigest() != digests.parse(descriptor.digest)[1]:
        raise Corrupt(f"reading blob {descriptor.digest}: its content has another digest: {found.hexdigest()}")


def _blocks(fd: int) -> Iterator[bytes]:
    """Yield a file's content from its start; where its offset is does not matter."""
    at = 0
    while block := os.pread(fd, BLOCK, at):
        yield block
        at += len(block)


def _content(fd: int, descriptor: Descriptor, known: bool) -> Generator[bytes]:
    """Yield a blob from its start; unless its digest is known to be right, Corrupt is raised at its end."""
    if known:
        yield from _blocks(fd)
        return
    with _HashThread(digests.new(descriptor.digest)) as found:
        for block in _blocks(fd):
            found.update(block)
            yield block
    _require_digest(found, descriptor)


class _HashThread:
    """A hash in a thread of its own: SHA-256 takes longer than all else. Ask for it after the `with` block."""

    def __init__(self, hash: digests.Hash) -> None:
        self._hash = hash
        self._waiting: Queue[bytes] = Queue(4)
        self._thread = Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._waiting.put(b"")
        self._thread.join()

    def update(self, block: bytes) -> None:
        """Take more content, which must not be empty."""
        self._waiting.put(block)

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal digits."""
        return self._hash.hexdigest()

    def _work(self) -> None:
        while block := self._waiting.get():
            self._hash.update(block)
