"""gc: have plugins give back what they keep for containers that are gone without `delete`."""

from __future__ import annotations

import os

from runjail.cli.args import Args, values
from runjail.cli.context import Context
from runjail.cli.network.places import places
from runjail.container.container import Runtime
from runjail.container.network import collecting
from runjail.errors import NetworkError, UsageError
from runjail.network.collect import collect
from runjail.network.lists import find

HELP = "have plugins take back what containers left that are gone, such as addresses"
ARGS = ("NAME", "MORE...")
OPTIONS = (values("other-root", "", "DIR", "a further --root with containers on these networks"),)


def run(args: Args, context: Context) -> int:
    """Collect what is nobody's, network by network; of several, every one gets its turn."""
    found, runtime = places(context), context.runtime()
    others = args.many("other-root")
    for root in others:
        if not os.path.isdir(root):  # or all of its containers would be taken for gone
            raise UsageError(f"--other-root: no such directory: {root[:200]}")
    roots = {os.path.realpath(root): root for root in (*others, runtime.root)}
    runtimes = [Runtime(runtime.host, root) for root in roots.values()]
    failures: list[NetworkError] = []
    for name in [*args.positionals, *context.rest]:
        try:
            listed = find(name, found.directories)
            with collecting(runtimes, name) as valid:
                failures += map(NetworkError, collect(listed, valid, found.bins, found.timeout))
        except NetworkError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return 0
