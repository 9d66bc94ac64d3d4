"""Which blobs were seen to hold a layer, and by whose key.

So a layer in the store is no way around authorisation. diffIDs stand in the config, for everybody to read. So whoever
writes manifests could name the diffIDs of somebody else's encrypted image beside any other blobs, or wrap a key of
their own for it, and get the datasets that were unpacked for the owner of the real key. A layer in the store is
therefore only used with a blob, and a key, that gave this very content once: either it was written down when it did, or
it has to be shown now.
"""

from __future__ import annotations

import os

from runjail.errors import Corrupt, ImageError, reason
from runjail.image import digest as digests
from runjail.image.content.store import ContentStore
from runjail.image.file_range import FileRange
from runjail.image.model import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.image.crypto.options import PrivateLayerOptions

LONGEST = 1 << 20  # bytes of the file of one diffID


class VerifiedLayers:
    """What was written down, one small file for each diffID, in a content store's directory."""

    def __init__(self, content: ContentStore) -> None:
        self.content = content
        self.directory = f"{content.directory}/proofs"

    def require(self, layer: Descriptor, diff_id: str, private: PrivateLayerOptions | None) -> None:
        """Make sure that this blob, opened with this key, is the layer that the diffID names.

        Raises Corrupt when it is not, ImageNotFound when it would have to be looked at and is not here.
        """
        if self._line(layer, private) in self._lines(diff_id):
            return
        with self.content.reading(layer.digest) as file:
            authenticate(file, layer, private)
            found = _diff_id(file, diff_id, private)
        if found != diff_id:
            what = "another diffID" if private else f"diffID {found}"  # the digest of a plaintext is not for everybody
            raise Corrupt(f"layer {layer.digest} has {what}, not {diff_id} as the image's config says")
        self.note(layer, diff_id, private)

    def note(self, layer: Descriptor, diff_id: str, private: PrivateLayerOptions | None) -> None:
        """Write down that this blob was seen to hold the layer."""
        line = self._line(layer, private)
        if line in self._lines(diff_id):
            return
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            file = os.open(self._path(diff_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, f"{line}\n".encode())  # one write: several processes append at once
            finally:
                os.close(file)
        except OSError as error:
            raise ImageError(f"cannot write {self._path(diff_id)}: {reason(error)}") from error

    def forget(self, keep: set[str]) -> None:
        """Remove the files of all other diffIDs."""
        try:
            names = set(os.listdir(self.directory)) - {self._path(diff_id).rpartition("/")[2] for diff_id in keep}
        except FileNotFoundError:
            return
        for name in names:
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:  # by another process
                pass

    def _lines(self, diff_id: str) -> list[str]:
        try:
            with open(self._path(diff_id), encoding="utf-8", errors="replace") as file:
                return file.read(LONGEST).split("\n")[:-1]  # a line without its end was cut off by a full disk
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ImageError(f"cannot read {self._path(diff_id)}: {reason(error)}") from error

    def _path(self, diff_id: str) -> str:
        return f"{self.directory}/{'-'.join(digests.parse(diff_id))}"

    @staticmethod
    def _line(layer: Descriptor, private: PrivateLayerOptions | None) -> str:
        """Return the blob and, for an encrypted one, a fingerprint of key and nonce that tells nothing about them."""
        return f"{layer.digest} {_fingerprint(layer, private) if private else 'plain'}"


def _fingerprint(layer: Descriptor, private: PrivateLayerOptions) -> str:
    import hashlib  # only encrypted images pay for it
    import hmac

    label = f"runjail layer key of {layer.digest}".encode()
    return hmac.digest(private.symkey, label + private.nonce, hashlib.sha256).hex()


def authenticate(
    file: int, layer: Descriptor, private: PrivateLayerOptions | None, content: ContentStore | None = None
) -> None:
    """Check a blob's size and digest, and an encrypted one's HMAC, before anything is made of it. Raises Corrupt.

    content: where it is; what this process itself has hashed as it came in is not hashed again.
    """
    known = bool(content and content.is_verified(file, layer))
    if private:
        from runjail.image.crypto import layer_stream, ocicrypt  # only encrypted images pay for it

        layer_stream.verify(file, private, ocicrypt.public(layer), layer, known=known)
    elif not known:
        from runjail.image.layers.layer import verify

        verify(file, layer)


def _diff_id(file: int, like: str, private: PrivateLayerOptions | None) -> str:
    """Return the digest of what a layer's blob, which is genuine, holds."""
    from runjail.image.layers import compression
    from runjail.image.layers.limits import Limits

    if private:
        from runjail.image.crypto import layer_stream

        blob = layer_stream.decrypted(file, private)
    else:
        blob = FileRange(file, 0, os.fstat(file).st_size).blocks()
    found = digests.new(like)
    for data in compression.decompress(blob, **Limits().bounds()):
        found.update(data)
    return f"{digests.parse(like)[0]}:{found.hexdigest()}"
