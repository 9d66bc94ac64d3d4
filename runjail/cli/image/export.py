"""export: write an image to a layout or an archive."""

from __future__ import annotations

from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.options import COMPRESSION, POLICY, REPORT, SELECTED
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from runjail.image.reference import PLACES

HELP = "write an image to oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]"
ARGS = ("SRC", "DST")
OPTIONS = (*SELECTED, *COMPRESSION, POLICY, *REPORT)


def run(args: Args, context: Context) -> int:
    """Write an image."""
    images = ImageSession(args, context)
    target = images.parse(args.positionals[1])
    if target.kind not in PLACES:
        raise UsageError(f"{target.name}: not a layout or an archive", "runjail image push sends to registries")
    return images.report(target.name, images.send_named(images.parse(args.positionals[0]), target))
