"""encrypt: layers of images in the store, in layouts and in archives.

What decrypt shares is here as well.
"""

from __future__ import annotations

from runjail import log
from runjail.cli.args import Args, values
from runjail.cli.context import Context
from runjail.cli.image.names import local_name
from runjail.cli.image.options import KEY, LAYER, REMOTE, REPORT, SELECTED, layers
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from runjail.image import platform, resolve
from runjail.image.content import encrypt
from runjail.image.content.encrypt import Chosen
from runjail.image.crypto import keys
from runjail.image.crypto.options import Parameters
from runjail.image.model import Descriptor

HELP = "encrypt layers, or with --key add recipients to encrypted ones"
ARGS = ("SRC", "[DST]")
OPTIONS = (
    values(
        "recipient",
        "",
        "SCHEME:WHO",
        "who can decrypt: jwe:FILE, pkcs7:FILE, pgp:MAIL, pkcs11:FILE, provider:NAME",
    ),
    KEY,
    LAYER,
    *SELECTED,
    *REMOTE,
    *REPORT,
)


def run(args: Args, context: Context) -> int:
    """Encrypt layers, or add recipients to encrypted ones."""
    images = ImageSession(args, context)
    if not args.many("recipient"):
        raise UsageError("no recipients given -- nothing to do", "for example --recipient jwe:PUBLIC-KEY.pem")
    return change(images, keys.read_recipients(args.many("recipient")))


def change(images: ImageSession, recipients: Parameters | None) -> int:
    """Make the changed image and give it to its new name or place; without one it takes the old one's name.

    docker:// is a place: the registry.
    """
    words = images.args.positionals
    source, in_place = images.parse(words[0]), len(words) == 1
    target = source if in_place else images.parse(words[1])
    named = target.kind == "registry" and not target.remote
    if target.kind == "rootfs" or (in_place and not named):
        hint = "a name, oci:DIR:TAG, oci-archive:FILE:TAG or docker://REPOSITORY:TAG"
        raise UsageError(f"{source.name}: say where the result goes", hint)
    if named:
        local_name(target)  # a digest is no name for what has another
    with images.transient_blobs() as digests:
        name, top = images.fetch_transient(source, digests)
        if in_place and resolve.is_digest(source, name):
            raise UsageError(f"{source.name}: say what the result is called", f"for example {name}")
        before = resolve.every(images.content.read, name, top)
        for image in before:
            images.gate.require(image)
        changed = _changed(images, top, recipients, digests)
        images.made(name, changed, before)
        if changed == top:
            log.warning(f"{name}: nothing to {'decrypt' if recipients is None else 'encrypt'}")
        if named:
            name = name if in_place else local_name(target)
            images.content.tag(name, changed)
            return images.report(name, changed)
        return images.report(target.name, images.send(source.name, changed, target, digests))


def _changed(images: ImageSession, top: Descriptor, recipients: Parameters | None, added: set[str]) -> Descriptor:
    with images.progress() as progress:
        keys = encrypt.CryptoConfig(images.keys(), recipients or {}, images.providers(), progress, added)
        do = encrypt.decrypt if recipients is None else encrypt.encrypt
        return do(images.content, top, keys, encrypt.Selection(layers(images.args), _chosen(images)))


def _chosen(images: ImageSession) -> Chosen | None:
    """Return which manifests of an index are meant: those of --platform, by default all that are here."""
    if not images.args.many("platform"):
        return None
    wanted = images.platforms()

    def chosen(entry: Descriptor) -> bool:
        offered = entry.platform or platform.of_manifest(entry, images.content.read)
        return offered is not None and any(platform.fits(offered, each) for each in wanted)

    return chosen
