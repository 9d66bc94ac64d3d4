"""inspect: network lists as they are."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.network.places import places
from runjail.cli.template import template
from runjail.network.lists import find

HELP = "show lists of networks"
ARGS = ("NAME", "MORE...")
OPTIONS = (TEMPLATE,)


def run(args: Args, context: Context) -> int:
    """Show the lists as a JSON array, as podman does."""
    form, directories = template(args, {}), places(context).directories
    found = [find(name, directories) for name in [*args.positionals, *context.rest]]
    documents = [each.document for each in found]
    return write_stdout(form.render(documents) if form else jsonio.dumps(documents, indent=2) + "\n")
