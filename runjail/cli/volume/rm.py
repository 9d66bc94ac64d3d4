"""rm: remove volumes that no container has."""

from __future__ import annotations

from runjail.cli.args import Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession
from runjail.cli.volume.users import users
from runjail.errors import InUse, StorageError, VolumeNotFound

HELP = "remove volumes, with all that is in them"
ARGS = ("NAME", "MORE...")
OPTIONS = (flag("force", "f", "one that does not exist is no error"),)


def run(args: Args, context: Context) -> int:
    """Remove volumes; each name that is gone is printed. Of several, every one gets its turn."""
    images = ImageSession(args, context, make=False)
    failures: list[StorageError] = []
    volumes = images.store.volumes() if images.there() else None
    known = {each.name: each for each in volumes.all()} if volumes else {}
    for name in [*args.positionals, *context.rest]:
        try:
            if not volumes or name not in known:
                raise VolumeNotFound(name)
            if found := users(known[name].path, images.store):
                raise InUse(f"volume {name} is in use by {', '.join(found)[:400]}", "delete these containers first")
            volumes.remove(name)
        except StorageError as error:
            failures += [] if args.flag("force") and isinstance(error, VolumeNotFound) else [error]
            continue
        write_stdout(f"{name}\n")
    if failures:
        raise failures[0]
    return 0
