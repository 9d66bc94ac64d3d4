"""rm: remove volumes that no container has."""

from __future__ import annotations

import functools

from runjail.cli.args import Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession
from runjail.cli.volume.users import users
from runjail.errors import InUse, StorageError, VolumeNotFound
from runjail.storage.base import Store

HELP = "remove volumes, with all that is in them"
ARGS = ("NAME", "MORE...")
OPTIONS = (flag("force", "f", "one that does not exist is no error"),)


def run(args: Args, context: Context) -> int:
    """Remove volumes; each name that is gone is printed. Of several, every one gets its turn."""
    images = ImageSession(args, context, make=False)
    failures: list[StorageError] = []
    volumes = images.store.volumes() if images.there() else None
    for name in [*args.positionals, *context.rest]:
        try:
            if not volumes:
                raise VolumeNotFound(name)
            volumes.remove(name, functools.partial(_refuse_used, name, images.store))
        except StorageError as error:
            failures += [] if args.flag("force") and isinstance(error, VolumeNotFound) else [error]
            continue
        write_stdout(f"{name}\n")
    if failures:
        raise failures[0]
    return 0


def _refuse_used(name: str, store: Store, path: str) -> None:
    if found := users(path, store):
        raise InUse(f"volume {name} is in use by {', '.join(found)[:400]}", "delete these containers first")
