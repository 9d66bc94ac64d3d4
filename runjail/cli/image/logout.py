"""logout: take what login has kept out of the file again."""

from __future__ import annotations

from runjail.cli.args import Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.login import registry
from runjail.cli.image.options import AUTH
from runjail.errors import ImageError, UsageError
from runjail.image.registry.logins import LoginFile

HELP = "log out of a registry"
ARGS = ("[REGISTRY]",)
OPTIONS = (flag("all", "a", "of all registries in the file"), AUTH)


def run(args: Args, context: Context) -> int:
    """Log out."""
    logins = LoginFile(args.text("authfile"))
    if args.flag("all") == bool(args.positionals):
        raise UsageError("which registry: its name, or --all")
    if args.flag("all"):
        logins.drop_all()
        return write_stdout("Removed login credentials for all registries\n")
    key = registry(args.positionals[0])
    if not logins.drop(key):
        raise ImageError(f"not logged into {key}")
    return write_stdout(f"Removed login credentials for {key}\n")
