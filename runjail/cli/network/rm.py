"""rm: remove network lists, and the bridges that they have made."""

from __future__ import annotations

from runjail import log
from runjail.cli.args import Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.network.places import places
from runjail.container.container import Runtime
from runjail.container.network import attached
from runjail.errors import NetworkError
from runjail.network.create import remove
from runjail.network.lists import find

HELP = "remove networks that no container is on"
ARGS = ("NAME", "MORE...")
OPTIONS = (flag("force", "f", "one that does not exist is no error"),)


def run(args: Args, context: Context) -> int:
    """Remove lists; each name that is gone is printed. Of several, every one gets its turn."""
    directories, runtime = places(context).directories, context.runtime()
    failures = []
    for name in [*args.positionals, *context.rest]:
        try:
            listed = find(name, directories)
        except NetworkError as error:
            failures += [] if args.flag("force") else [error]
            continue
        if users := _users(name, runtime):
            failures.append(NetworkError(f"network {name} is in use by {', '.join(users)[:400]}", "delete them first"))
            continue
        for bridge in remove(listed, runtime.host.networks().remove_bridge):
            log.warning(f"network {name}: somebody else is on its bridge {bridge}, which stays")
        write_stdout(f"{name}\n")
    if failures:
        raise failures[0]
    return 0


def _users(name: str, runtime: Runtime) -> list[str]:
    """Return the containers below our --root that are on a network."""
    containers = [runtime.container(each) for each in runtime.ids()]
    return [each.id for each in containers if any(found.network == name for found in attached(each))]
