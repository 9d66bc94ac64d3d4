"""delete: a container, everything that create made, and the bundle that `run --image` made for it."""

from __future__ import annotations

import os

from runjail.cli.args import Args, flag
from runjail.cli.context import Context

HELP = "delete a container and everything that create made"
ARGS = ("ID",)
OPTIONS = (flag("force", "f", "also a running one; an unknown one is no error"),)

OWNER_FILE = "image.json"  # in a bundle that belongs to a store: image.bundle.owned, which costs an import


def run(args: Args, context: Context) -> int:
    """Delete a container."""
    from runjail.container.delete import delete

    bundle = delete(args.positionals[0], args.flag("force"), context.runtime())
    if bundle and os.path.lexists(f"{bundle}/{OWNER_FILE}"):
        from runjail.cli.run_image import release

        release(bundle, context)
    return 0
