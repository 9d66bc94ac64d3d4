"""encrypt and decrypt: images in the store, in layouts and in archives."""

from runjail.cli.image.session import Half
from runjail.cli.image.transfer import say, send
from runjail.cli.main import Context
from runjail.errors import UsageError
from runjail.image import platform, reference, resolve
from runjail.image.content import encrypt as recrypt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.cli.args import Given
    from runjail.image.content.encrypt import Chosen
    from runjail.image.crypto.options import Parameters
    from runjail.image.model import Descriptor


def encrypt(given: "Given", context: Context) -> int:
    """Encrypt layers, or add recipients to encrypted ones."""
    half = Half(given, context)
    if not given.many("recipient"):
        raise UsageError("no recipients given -- nothing to do", "for example --recipient jwe:PUBLIC-KEY.pem")
    from runjail.image.crypto import recipients

    return _change(half, recipients.read(given.many("recipient")))


def decrypt(given: "Given", context: Context) -> int:
    """Decrypt layers."""
    return _change(Half(given, context), None)


def _change(half: Half, recipients: "Parameters | None") -> int:
    """Make the changed image and give it to its new name or place; without one it takes the old one's name."""
    source = reference.parse(half.given.words[0])
    target = reference.parse(half.given.words[-1])
    if target.kind == "rootfs" or (target.kind != "registry" and len(half.given.words) == 1):
        raise UsageError(f"{source.name}: say where the result goes", "a name, oci:DIR:TAG or oci-archive:FILE:TAG")
    if target.kind == "registry":
        half.local_name(half.given.words[-1])  # a digest is no name for what has another
    with half.passing() as digests:
        name, top = half.borrow(half.given.words[0], digests)
        if len(half.given.words) == 1 and resolve.is_digest(half.given.words[0], name):
            raise UsageError(f"{source.name}: say what the result is called", f"for example {name}")
        changed = _changed(half, top, recipients, digests)
        if changed == top:
            from runjail import log

            log.warning(f"{name}: nothing to {'decrypt' if recipients is None else 'encrypt'}")
        if target.kind == "registry":
            name = name if len(half.given.words) == 1 else half.local_name(half.given.words[1])
            half.content.tag(name, changed)
            return say(half.given, name, changed)
        return say(half.given, target.name, send(half, source.name, changed, target, digests))


def _changed(half: Half, top: "Descriptor", recipients: "Parameters | None", added: set[str]) -> "Descriptor":
    with half.progress() as progress:
        keys = recrypt.Keys(half.keys(), recipients or {}, half.providers(), progress, added)
        do = recrypt.decrypt if recipients is None else recrypt.encrypt
        return do(half.content, top, keys, half.layers(), _chosen(half))


def _chosen(half: Half) -> "Chosen | None":
    """Return which manifests of an index are meant: those of --platform, by default all that are here."""
    if not half.given.many("platform"):
        return None
    wanted = half.platforms()

    def chosen(entry: "Descriptor") -> bool:
        offered = entry.platform or platform.of_manifest(entry, half.content.read)
        return offered is not None and any(platform.fits(offered, each) for each in wanted)

    return chosen
