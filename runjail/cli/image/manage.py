"""tag, rm, unpack, bundle, prune: images in the store."""

from __future__ import annotations

import os
from functools import partial

from runjail import jsonio
from runjail.cli.image.session import ImageSession, warn
from runjail.cli.main import Context, write_stdout
from runjail.cli.reports import choice
from runjail.errors import ImageNotFound, UsageError
from runjail.image import resolve
from runjail.sizes import read_size, show_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.cli.args import Args
    from runjail.image.bundle.prune import Pruned
    from runjail.image.bundle.unpack import Unpacked
    from runjail.image.resolve import Image


def tag(args: Args, context: Context) -> int:
    """Give an image one more name."""
    images = ImageSession(args, context, make=False)
    name = images.local_name(args.words[1])
    images.content.tag(name, images.find(args.words[0])[1])
    return 0


def remove(args: Args, context: Context) -> int:
    """Take names away, then what only they led to."""
    from runjail.container.query import is_used
    from runjail.image.bundle.prune import prune

    images = ImageSession(args, context, make=False)
    missing = []
    for word in [*args.words, *context.rest]:
        try:
            for name in _names_of(images, word):
                images.content.untag(name)
        except ImageNotFound as error:
            missing.append(error)
    prune(images.content, images.store, partial(is_used, context.host()))
    if missing and not args.flag("force"):
        raise missing[0]
    return 0


def _names_of(images: ImageSession, word: str) -> list[str]:
    """Return the name that a word means, or all names of a digest. Raises ImageNotFound, UsageError."""
    name, found = images.find(word)
    if not resolve.is_digest(word, name):
        return [name]
    names = [other for other, top in images.content.names().items() if top.digest == found.digest]
    if not names:
        raise UsageError(f"{word} is the image of one platform of {name}", f"runjail image rm {name}")
    if len(names) > 1 and not images.args.flag("force"):
        raise UsageError(f"{word} has more than one name: {', '.join(sorted(names)[:5])}", "--force takes all away")
    return names


def unpack(args: Args, context: Context) -> int:
    """Unpack an image's layers and say where they are."""
    images = ImageSession(args, context)
    form = choice(args, "table", "json")
    with images.content.lease():
        image, found = unpacked(images, args.words[0])
        seal = found.seal.name if found.seal else ""
        where = next(layer.name for layer in images.store.layers() if (layer.chain, layer.seal) == (found.chain, seal))
    if form == "json":
        return write_stdout(jsonio.dumps({"name": image.name, "chainID": found.chain, "dataset": where}) + "\n")
    return write_stdout(f"{found.chain} {where}\n")


def unpacked(images: ImageSession, word: str) -> tuple[Image, Unpacked]:
    """Prove that the keys open every encrypted layer of an image, and have it in the store. Under the lease."""
    from runjail.image.bundle import unpack as unpacking

    keys = (
        images.keys() if images.args.many("key") else None
    )  # what is wrong with a key is said before anything is fetched
    image = images.image(word)
    if image.manifest.encrypted:
        opened = unpacking.authorise(image, images.keys() if keys is None else keys, images.providers())
    else:
        opened = unpacking.authorise(image, {}, {})
    with images.progress() as progress:
        found = unpacking.unpack(
            image,
            opened,
            images.content,
            images.store,
            encrypt=bool(images.setting("store", "encrypt", False)),
            progress=progress,
            warn=warn,
        )
    return image, found


def storage_size(args: Args) -> int:
    """Return the bytes of --storage-opt size=, 0 without it."""
    found = 0
    for option in args.many("storage-opt"):
        name, _, text = option.partition("=")
        size = read_size(text, words=True)
        if name != "size" or size is None:
            raise UsageError(f"--storage-opt: not size=BYTES, with k, m, g or t: {option[:80]!r}")
        found = size
    return found


def bundle(args: Args, context: Context) -> int:
    """Make a bundle in a new or empty directory: config.json, and a root of its own in the store."""
    import hashlib

    from runjail.image.bundle import owned
    from runjail.image.bundle.oci_config import LONGEST_HOSTNAME, config

    images = ImageSession(args, context)
    limit = storage_size(args)
    path = os.path.abspath(args.words[1])
    name = f"bundle-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    with owned.empty_directory(path), images.content.lease():
        image, found = unpacked(images, args.words[0])
        images.store.remove_root(name)  # of a bundle that was here before
        root = images.store.create_rootfs(
            name, found.chain, seal=found.seal, size=limit, properties={owned.BUNDLE: path}
        )
        try:
            hostname = os.path.basename(path)[:LONGEST_HOSTNAME]
            document = config(image.config, root, host=context.host().os, args=context.rest, hostname=hostname)
            owned.write(f"{path}/config.json", document)
        except BaseException:
            images.store.remove_root(name)
            raise
    return write_stdout(f"{path}\n")


def prune(args: Args, context: Context) -> int:
    """Remove what is half-made, unused or left behind, and say what it was."""
    from runjail.container.query import is_used
    from runjail.image.bundle.prune import Pruned
    from runjail.image.bundle.prune import prune as do
    from runjail.record import to_data

    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    if images.there():
        pruned = do(images.content, images.store, partial(is_used, context.host()), names=args.flag("all"))
    else:
        pruned = Pruned((), (), (), (), (), 0)
    if pruned.busy:
        warn("an image is being fetched or unpacked: layers and young blobs stay")
    return write_stdout(jsonio.dumps(to_data(pruned)) + "\n" if form == "json" else _format_pruned(pruned))


def _format_pruned(pruned: Pruned) -> str:
    lists = (("half-made", pruned.half_made), ("root", pruned.roots), ("name", pruned.names), ("layer", pruned.layers))
    lines = [f"{what} {name}\n" for what, names in lists for name in names]
    return "".join(lines) + f"{len(pruned.blobs)} blobs, {show_size(pruned.freed)}\n"
