"""create: a container whose program waits for start.

What of its command line `run` shares is here as well.
"""

from __future__ import annotations

import os

from runjail.cli.args import BUNDLE, FILES, Args, flag, ignored
from runjail.cli.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.create import Request

HELP = "create a container whose program waits for start"
ARGS = ("ID",)
OPTIONS = (
    BUNDLE,
    *FILES,
    ignored("no-pivot"),
    flag("no-new-keyring", "", "on Linux: processes keep the session keyring of who starts them"),
    ignored("pidfd-socket", "X"),
)


def run(args: Args, context: Context) -> int:
    """Create a container."""
    from runjail.container.create import create

    create(request(args, context), context.runtime())
    return 0


def request(args: Args, context: Context) -> Request:
    """Return what a command line wants to be created."""
    from runjail.container.create import Request

    return Request(
        args.positionals[0],
        os.path.abspath(args.text("bundle") or "."),
        absolute(args.text("pid-file")),
        absolute(args.text("console-socket")),
        context.preserve,
        context.listen,
        not args.flag("no-new-keyring"),
        context.systemd,
    )


def absolute(path: str) -> str:
    """Paths are the caller's, relative to its directory, whatever directory we work in later."""
    return os.path.abspath(path) if path else ""
