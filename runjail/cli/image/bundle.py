"""bundle: a bundle in a new or empty directory, with a root of its own in the store."""

from __future__ import annotations

import hashlib
import os

from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.options import KEY, PLATFORM, QUIET, REMOTE, STORAGE, storage_size
from runjail.cli.image.session import ImageSession
from runjail.cli.progress import copying
from runjail.image.bundle import ordinary, owned
from runjail.image.bundle.oci_config import LONGEST_HOSTNAME, config
from runjail.storage.base import RootfsUse

HELP = "make a bundle: config.json and a root file system of its own"
ARGS = ("SRC", "DIR", "CMD...")
OPTIONS = (KEY, PLATFORM, *REMOTE, QUIET, STORAGE)


def run(args: Args, context: Context) -> int:
    """Make a bundle."""
    images = ImageSession(args, context)
    limit = storage_size(args)
    path = os.path.abspath(args.positionals[1])
    name = f"bundle-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    with owned.empty_directory(path), images.content.lease():
        image, found = images.unpack(images.parse(args.positionals[0]))
        images.store.remove_root(name)  # of a bundle that was here before
        with copying(os.path.basename(path), quiet=images.flag("quiet")) as report:
            use = RootfsUse(limit, {owned.BUNDLE: path}, report=report)
            root = images.store.create_rootfs(name, found.chain, found.seal, use)
        try:
            hostname = os.path.basename(path)[:LONGEST_HOSTNAME]
            document = config(image.config, root, host=context.host().os, args=context.rest, hostname=hostname)
            if context.entered:
                ordinary.adapt(document, context.entered.uids, context.entered.gids)
            owned.write(f"{path}/config.json", document)
        except BaseException:
            images.store.remove_root(name)
            raise
    return write_stdout(f"{path}\n")
