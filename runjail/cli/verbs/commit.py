"""commit: a container of an image as an image, with one layer more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from runjail.cli.args import Args, flag, value, values
from runjail.cli.container_image import ContainerImage
from runjail.cli.context import Context
from runjail.cli.image.names import local_name
from runjail.cli.image.options import KEY, POLICY, REPORT
from runjail.cli.image.session import ImageSession
from runjail.cli.progress import Progress
from runjail.container.pause import pause, resume
from runjail.container.status import status
from runjail.errors import ImageNotFound, StorageError, UsageError
from runjail.image import resolve
from runjail.image.content import commit, encrypt
from runjail.image.content.recompress import counted
from runjail.image.crypto import keys
from runjail.image.layers import changes
from runjail.image.model import Descriptor
from runjail.image.reference import parse
from runjail.image.resolve import Image

HELP = "make an image of a container"
ARGS = ("ID", "NAME")
OPTIONS = (
    values("change", "c", "INSTRUCTION", "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"),
    value("author", "a", "TEXT", "who made it"),
    value("message", "m", "TEXT", "what for"),
    flag("pause", "p", "pause the container meanwhile"),
    values("recipient", "", "SCHEME:WHO", "encrypt the layers at once: as image encrypt"),
    flag("plain", "", "leave the new layer of an encrypted image unencrypted"),
    KEY,
    POLICY,
    *REPORT,
)


def run(args: Args, context: Context) -> int:
    """Make the image."""
    there = ContainerImage(args, context)
    context.location = there.location
    images = ImageSession(args, context, make=False)
    name = local_name(images.parse(args.positionals[1]))
    recipients = keys.read_recipients(args.many("recipient")) if args.many("recipient") else None
    for text in args.many("change"):
        commit.change({}, text)  # only to check it, before a layer is made
    with images.transient_blobs() as added:
        image = _image(images, there)
        images.gate.require(image)
        if image.manifest.encrypted and not recipients and not args.flag("plain"):
            why = f"{image.name} is encrypted, and the new layer would not be"
            raise UsageError(why, "name who can decrypt it with --recipient, or say --plain")
        with _paused(there, wanted=args.flag("pause")), images.progress() as progress:
            made = _made(images, there, image, added, progress)
        if recipients:
            with images.progress() as progress:
                how = encrypt.CryptoConfig(images.keys(), recipients, images.providers(), progress, added)
                made = encrypt.encrypt(images.content, made, how, encrypt.Selection(_layers(image)))
        images.made(name, made, [image])
        images.content.tag(name, made)
    return images.report(name, made)


def _layers(image: Image) -> tuple[int, ...]:
    """Return which layers are encrypted: all, or the new one where those below are already."""
    return (-1,) if image.manifest.encrypted else ()


def _image(images: ImageSession, there: ContainerImage) -> Image:
    """Return the image that the container was made of."""
    digest = there.annotations.get("org.runjail.image.manifest", "")
    try:
        name, top = images.find(parse(digest))
    except ImageNotFound:
        what = there.annotations.get("org.runjail.image.name", digest)
        raise ImageNotFound(
            f"{what} ({digest[:19]})", "the container's image has to be in the store: pull it"
        ) from None
    return resolve.every(images.content.read, name, top)[0]


def _made(images: ImageSession, there: ContainerImage, image: Image, added: set[str], progress: Progress) -> Descriptor:
    root = images.store.root(there.name)
    if not root:
        raise StorageError(f"container {there.container.id} has no root in {there.location}")
    volumes = [os.fsencode(path.strip("/")) + b"/" for path in image.config.run("Volumes") or {}]
    found = [change for change in there.changes(images.store) if not any(map(change[1].startswith, volumes))]
    words = there.document.get("process", {}).get("args") or []
    note = commit.Note(" ".join(words), images.text("author"), images.text("message"))
    what = Descriptor("", there.container.id, 0)
    layer = counted(changes.layer(root.path, found), lambda count: progress(what, count, "packed"))
    return commit.commit(images.content, image, layer, images.args.many("change"), note, added)


@contextmanager
def _paused(there: ContainerImage, *, wanted: bool) -> Iterator[None]:
    """Pause a running container, and let it go on afterwards."""
    runtime, name = there.container.runtime, there.container.id
    if not wanted or status(there.container) != "running":
        yield
        return
    pause(name, runtime)
    try:
        yield
    finally:
        resume(name, runtime)
