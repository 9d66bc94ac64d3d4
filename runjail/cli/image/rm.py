"""rm: take names of images away, then what only they led to."""

from __future__ import annotations

from functools import partial

from runjail.cli.args import Args, flag
from runjail.cli.context import Context
from runjail.cli.image.session import ImageSession
from runjail.container.query import is_used
from runjail.errors import ImageNotFound, UsageError
from runjail.image.bundle.prune import prune
from runjail.image.resolve import is_digest

HELP = "take a name away"
ARGS = ("NAME", "MORE...")
OPTIONS = (flag("force", "f", "an unknown name is no error"),)


def run(args: Args, context: Context) -> int:
    """Take names away."""
    images = ImageSession(args, context, make=False)
    missing = []
    for word in [*args.positionals, *context.rest]:
        try:
            for name in _names_of(images, word):
                images.content.untag(name)
        except ImageNotFound as error:
            missing.append(error)
    prune(images.content, images.store, partial(is_used, context.host()))
    if missing and not args.flag("force"):
        raise missing[0]
    return 0


def _names_of(images: ImageSession, word: str) -> list[str]:
    """Return the name that a word means, or all names of a digest. Raises ImageNotFound, UsageError."""
    reference = images.parse(word)
    name, found = images.find(reference)
    if not is_digest(reference, name):
        return [name]
    names = [other for other, top in images.content.names().items() if top.digest == found.digest]
    if not names:
        raise UsageError(f"{word} is the image of one platform of {name}", f"runjail image rm {name}")
    if len(names) > 1 and not images.args.flag("force"):
        raise UsageError(f"{word} has more than one name: {', '.join(sorted(names)[:5])}", "--force takes all away")
    return names
