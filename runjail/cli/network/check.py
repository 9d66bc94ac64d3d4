"""check: ask the plugins of a container's networks whether all is as they made it."""

from __future__ import annotations

from runjail import log
from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.container import network

HELP = "have plugins check the networks of a container"
ARGS = ("ID",)
OPTIONS = ()


def run(args: Args, context: Context) -> int:
    """Check the networks of one container."""
    for name in network.check(context.runtime().find(args.positionals[0])):
        log.warning(f"network {name}: its list, or the version of it, has no CHECK")
    return 0
