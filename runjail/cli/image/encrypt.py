"""encrypt and decrypt: images in the store, in layouts and in archives."""

from __future__ import annotations

from runjail.cli.image.session import ImageSession
from runjail.cli.image.transfer import say, send
from runjail.cli.main import Context
from runjail.errors import UsageError
from runjail.image import platform, reference, resolve
from runjail.image.content import encrypt as recrypt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.cli.args import Args
    from runjail.image.content.encrypt import Chosen
    from runjail.image.crypto.options import Parameters
    from runjail.image.model import Descriptor


def encrypt(args: Args, context: Context) -> int:
    """Encrypt layers, or add recipients to encrypted ones."""
    images = ImageSession(args, context)
    if not args.many("recipient"):
        raise UsageError("no recipients given -- nothing to do", "for example --recipient jwe:PUBLIC-KEY.pem")
    from runjail.image.crypto import keys

    return _change(images, keys.read_recipients(args.many("recipient")))


def decrypt(args: Args, context: Context) -> int:
    """Decrypt layers."""
    return _change(ImageSession(args, context), None)


def _change(images: ImageSession, recipients: Parameters | None) -> int:
    """Make the changed image and give it to its new name or place; without one it takes the old one's name."""
    source = reference.parse(images.args.words[0])
    target = reference.parse(images.args.words[-1])
    if target.kind == "rootfs" or (target.kind != "registry" and len(images.args.words) == 1):
        raise UsageError(f"{source.name}: say where the result goes", "a name, oci:DIR:TAG or oci-archive:FILE:TAG")
    if target.kind == "registry":
        images.local_name(images.args.words[-1])  # a digest is no name for what has another
    with images.transient_blobs() as digests:
        name, top = images.fetch_transient(images.args.words[0], digests)
        if len(images.args.words) == 1 and resolve.is_digest(images.args.words[0], name):
            raise UsageError(f"{source.name}: say what the result is called", f"for example {name}")
        changed = _changed(images, top, recipients, digests)
        if changed == top:
            from runjail import log

            log.warning(f"{name}: nothing to {'decrypt' if recipients is None else 'encrypt'}")
        if target.kind == "registry":
            name = name if len(images.args.words) == 1 else images.local_name(images.args.words[1])
            images.content.tag(name, changed)
            return say(images.args, name, changed)
        return say(images.args, target.name, send(images, source.name, changed, target, digests))


def _changed(images: ImageSession, top: Descriptor, recipients: Parameters | None, added: set[str]) -> Descriptor:
    with images.progress() as progress:
        keys = recrypt.CryptoConfig(images.keys(), recipients or {}, images.providers(), progress, added)
        do = recrypt.decrypt if recipients is None else recrypt.encrypt
        return do(images.content, top, keys, images.layers(), _chosen(images))


def _chosen(images: ImageSession) -> Chosen | None:
    """Return which manifests of an index are meant: those of --platform, by default all that are here."""
    if not images.args.many("platform"):
        return None
    wanted = images.platforms()

    def chosen(entry: Descriptor) -> bool:
        offered = entry.platform or platform.of_manifest(entry, images.content.read)
        return offered is not None and any(platform.fits(offered, each) for each in wanted)

    return chosen
