"""unpack: an image's layers into the store."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.options import KEY, PLATFORM, REMOTE, REPORT
from runjail.cli.image.session import ImageSession
from runjail.cli.output import choice

HELP = "unpack the layers into the store and print the chainID and where it is"
ARGS = ("SRC",)
OPTIONS = (KEY, PLATFORM, *REMOTE, *REPORT)


def run(args: Args, context: Context) -> int:
    """Unpack an image's layers and say where they are."""
    images = ImageSession(args, context)
    form = choice(args, "table", "json")
    with images.content.lease():
        image, found = images.unpack(images.parse(args.positionals[0]))
        seal = found.seal.name if found.seal else ""
        where = next(layer.name for layer in images.store.layers() if (layer.chain, layer.seal) == (found.chain, seal))
    if form == "json":
        return write_stdout(jsonio.dumps({"name": image.name, "chainID": found.chain, "dataset": where}) + "\n")
    return write_stdout(f"{found.chain} {where}\n")
