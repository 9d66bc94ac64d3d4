"""create: a container whose program waits for start.

What of its command line `run` shares is here as well.
"""

from __future__ import annotations

import os

from runjail.cli.args import BUNDLE, FILES, Args, flag, ignored, value
from runjail.cli.context import Context
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.container.create import Request

PIDFD = value("pidfd-socket", "", "PATH", "on Linux: Unix socket that receives a pidfd of the process")
HELP = "create a container whose program waits for start"
ARGS = ("ID",)
OPTIONS = (
    BUNDLE,
    *FILES,
    ignored("no-pivot"),
    flag("no-new-keyring", "", "on Linux: processes keep the session keyring of who starts them"),
    PIDFD,
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
        pidfd_socket=pidfd_socket(args, context),
    )


def pidfd_socket(args: Args, context: Context) -> str:
    """Return who gets a pidfd, "" for nobody. Raises UsageError where there are none."""
    path = absolute(args.text("pidfd-socket"))
    require_linux("pidfd-socket", path, context)
    return path


def require_linux(option: str, given: object, context: Context) -> None:
    """Raise UsageError for an option that was given where it would be without effect."""
    if given and context.host().os != "linux":
        raise UsageError(f"--{option}: only Linux has this")


def absolute(path: str) -> str:
    """Paths are the caller's, relative to its directory, whatever directory we work in later."""
    return os.path.abspath(path) if path else ""
