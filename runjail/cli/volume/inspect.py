"""inspect: where volumes are, and which containers have them."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession
from runjail.cli.template import template
from runjail.cli.volume.users import users
from runjail.errors import VolumeNotFound

HELP = "show where volumes are, and who has them"
ARGS = ("NAME", "MORE...")
OPTIONS = (TEMPLATE,)


def run(args: Args, context: Context) -> int:
    """Show volumes as a JSON array, under podman's names."""
    form, images = template(args, {}), ImageSession(args, context, make=False)
    known = {each.name: each for each in images.store.volumes().all()} if images.there() else {}
    documents = []
    for name in [*args.positionals, *context.rest]:
        if name not in known:
            raise VolumeNotFound(name)
        found = known[name]
        facts = {"Name": name, "Mountpoint": found.path, "Driver": "zfs" if found.dataset else "local"}
        documents.append({**facts, "Dataset": found.dataset, "Users": users(found.path, images.store)})
    return write_stdout(form.render(documents) if form else jsonio.dumps(documents, indent=2) + "\n")
