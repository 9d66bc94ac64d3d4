"""create: write a network list for a bridge."""

from __future__ import annotations

from runjail.cli.args import Args, flag, values
from runjail.cli.context import Context, write_stdout
from runjail.cli.network.places import places
from runjail.network.create import Bridge, create

HELP = "make a network: a bridge, and addresses on it"
ARGS = ("NAME",)
OPTIONS = (
    values("subnet", "", "CIDR", "its addresses (default: a free 10.89.N.0/24); one of IPv6, too"),
    values("gateway", "", "ADDR", "the host's address on it (default: the first)"),
    flag("internal", "", "containers reach each other and the host only"),
)


def run(args: Args, context: Context) -> int:
    """Write the list; prints the network's name."""
    settled = places(context)
    name = args.positionals[0]
    bridge = Bridge(name, tuple(args.many("subnet")), tuple(args.many("gateway")), args.flag("internal"))
    create(bridge, settled.directories, settled.bins, settled.timeout)
    return write_stdout(f"{name}\n")
