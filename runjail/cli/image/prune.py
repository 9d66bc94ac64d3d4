"""prune: remove what is half-made, unused or left behind in the store."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from runjail import jsonio
from runjail.cli.args import FORMAT, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession, warn
from runjail.cli.output import choice
from runjail.container.query import is_used
from runjail.image.bundle.prune import Pruned, prune
from runjail.sizes import show_size

HELP = "remove what is half-made, unused or left behind"
ARGS = ()
OPTIONS = (flag("all", "a", "also layers and blobs of images that no container uses"), FORMAT)


def run(args: Args, context: Context) -> int:
    """Prune, and say what it was."""
    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    pruned = _prune(images)
    if pruned.busy:
        warn("an image is being fetched or unpacked: layers and young blobs stay")
    return write_stdout(jsonio.dumps(asdict(pruned)) + "\n" if form == "json" else _format_pruned(pruned))


def _prune(images: ImageSession) -> Pruned:
    if not images.there():
        return Pruned((), (), (), (), (), 0)
    return prune(images.content, images.store, partial(is_used, images.context.host()), names=images.args.flag("all"))


def _format_pruned(pruned: Pruned) -> str:
    lists = (("half-made", pruned.half_made), ("root", pruned.roots), ("name", pruned.names), ("layer", pruned.layers))
    lines = [f"{what} {name}\n" for what, names in lists for name in names]
    return "".join(lines) + f"{len(pruned.blobs)} blobs, {show_size(pruned.freed)}\n"
