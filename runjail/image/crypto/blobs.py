"""Encrypting and decrypting whole blobs, in two passes when decrypting: nothing is emitted before all is verified.

ocicrypt emits plaintext while it reads and tells at the end whether it was genuine. Size, digest and HMAC are over the
ciphertext, so one pass checks them all; the second pass, over the same open file, decrypts.
"""

import hashlib
import os
from threading import Thread

from runjail import log
from runjail.errors import Corrupt, ImageError, reason
from runjail.image import digest as digests
from runjail.image import media
from runjail.image.crypto import cipher
from runjail.image.crypto.ocicrypt import strip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runjail.image.crypto.options import Private, Public
    from runjail.image.model import Descriptor

BLOCK = 1 << 20


def encrypt_blob(
    source_fd: int, out_fd: int, descriptor: "Descriptor", digest_of_plain: str = ""
) -> "tuple[Private, Public, Descriptor]":
    """Encrypt a layer blob from the start of an open file under a new key.

    digest_of_plain: what the private options say of the plaintext, the descriptor's digest by default. Returns the
    options, to be wrapped, and the descriptor of what was written: OCI's encrypted media type, sha256 digest, the same
    size and annotations. Raises ImageError, Corrupt when the source's size is another than described.
    """
    private = cipher.generate(digest_of_plain or descriptor.digest)
    encryptor, authenticator, written = cipher.encryptor(private), cipher.Authenticator(private), hashlib.sha256()
    try:
        _require_size(source_fd, descriptor)
        for block in _blocks(source_fd):
            ciphertext = encryptor.update(block)
            authenticator.update(ciphertext)
            written.update(ciphertext)
            _write(out_fd, ciphertext)
    except OSError as error:
        raise ImageError(f"encrypting layer {descriptor.digest}: {reason(error)}") from None
    digest = f"sha256:{written.hexdigest()}"
    encrypted = descriptor.replace(media_type=encrypted_type(descriptor.media_type), digest=digest)
    return private, authenticator.public(), encrypted


def decrypt_blob(
    source_fd: int, out_fd: int, private: "Private", public: "Public", descriptor: "Descriptor", diff_id: str = ""
) -> "Descriptor":
    """Decrypt a layer blob; nothing is written unless all of it is genuine.

    diff_id: the layer's, when it is known; only then can the digest in the private options be checked. Returns the
    descriptor of the plaintext: media type without its suffix, sha256 digest, the same size, no annotations of
    encryption. Raises Corrupt, ImageError.
    """
    verify(source_fd, private, public, descriptor)
    plain = hashlib.sha256()
    try:
        for block in decrypted(source_fd, private):
            plain.update(block)
            _write(out_fd, block)
    except OSError as error:
        raise ImageError(f"decrypting layer {descriptor.digest}: {reason(error)}") from None
    digest = f"sha256:{plain.hexdigest()}"
    if diff_id:
        check_digest(private, descriptor, digest, diff_id)
    kind = descriptor.media_type.removesuffix(media.ENCRYPTED)
    return descriptor.replace(media_type=kind, digest=digest, annotations=strip(descriptor.annotations))


def verify(source_fd: int, private: "Private", public: "Public", descriptor: "Descriptor") -> None:
    """Check a whole encrypted blob: size, digest and HMAC. Raises Corrupt, ImageError when it cannot be read.

    The digest is computed in a second thread over its own reads: both are as slow, and the file is in memory by then.
    """
    authenticator, found, failed = cipher.Authenticator(private), digests.new(descriptor.digest), []

    def digest() -> None:
        try:
            _feed(source_fd, found.update)
        except OSError as error:
            failed.append(error)

    thread = Thread(target=digest)
    try:
        _require_size(source_fd, descriptor)
        thread.start()
        try:
            _feed(source_fd, authenticator.update)
        finally:
            thread.join()
        if failed:
            raise failed[0]
    except OSError as error:
        raise ImageError(f"reading blob {descriptor.digest}: {reason(error)}") from None
    if found.hexdigest() != digests.parse(descriptor.digest)[1]:
        raise Corrupt(f"reading blob {descriptor.digest}: its content has another digest: {found.hexdigest()}")
    try:
        authenticator.verify(public)
    except Corrupt as error:
        raise Corrupt(f"reading blob {descriptor.digest}: {error}") from None


def decrypted(source_fd: int, private: "Private") -> "Iterator[bytes]":
    """Yield the plaintext of a blob that `verify` found genuine, from its start. Raises OSError."""
    decryptor = cipher.decryptor(private)
    return (decryptor.update(block) for block in _blocks(source_fd))


def check_digest(private: "Private", descriptor: "Descriptor", *found: str) -> None:
    """Warn when the private options speak of another layer: of none of the digests found.

    No more than that, because writers differ: ocicrypt never checks it, imgcrypt names the compressed blob, and skopeo
    what it had before it compressed. A layer is what its diffID says.
    """
    if private.digest and private.digest not in found:
        log.warning(f"layer {descriptor.digest} was {private.digest[:80]} before encryption, says who encrypted it")


def encrypted_type(media_type: str) -> str:
    """Return the media type of an encrypted layer. Raises ImageError for what is no layer that can be encrypted.

    docker's types become OCI's, as in imgcrypt; docker never had encrypted ones.
    """
    compression = media.layer_compression(media_type)
    if compression is None or media.is_encrypted(media_type) or media_type.startswith(media.DOCKER_FOREIGN):
        raise ImageError(f"{media_type}: content of this media type is not encrypted")
    if media_type.startswith(media.DOCKER_LAYER):
        return media.oci_layer(compression, encrypted=True)
    return media_type + media.ENCRYPTED


def _require_size(fd: int, descriptor: "Descriptor") -> None:
    size = os.fstat(fd).st_size
    if size != descriptor.size:
        raise Corrupt(f"reading blob {descriptor.digest}: {size} bytes long, not {descriptor.size}")


def _blocks(fd: int) -> "Iterator[memoryview]":
    """Yield a file's content from its start, in one buffer: a block is valid until the next one."""
    buffer, at = memoryview(bytearray(BLOCK)), 0
    while length := os.preadv(fd, [buffer], at):
        yield buffer[:length]
        at += length


def _feed(fd: int, update: "Callable[[memoryview], None]") -> None:
    for block in _blocks(fd):
        update(block)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
