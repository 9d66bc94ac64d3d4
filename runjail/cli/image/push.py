"""push: store an image in a registry."""

from __future__ import annotations

from runjail.cli.args import Args, value
from runjail.cli.context import Context
from runjail.cli.image.options import COMPRESSION, REMOTE, REPORT, SELECTED
from runjail.cli.image.session import ImageSession
from runjail.errors import UsageError
from runjail.image.trust import signer

HELP = "store an image in a registry"
ARGS = ("SRC", "[DST]")
SIGN = value("sign-by-sigstore", "", "FILE[:pass=…|:file=…|:fd=N]", "sign it with this private key")
OPTIONS = (*SELECTED, *COMPRESSION, SIGN, *REMOTE, *REPORT)


def run(args: Args, context: Context) -> int:
    """Send an image to a registry."""
    images = ImageSession(args, context)
    target = images.parse(args.positionals[-1])
    if target.kind != "registry":
        raise UsageError(f"{target.name}: not in a registry", "runjail image export writes layouts and archives")
    if args.text(SIGN.name):
        images.sign = signer.read(args.text(SIGN.name), target)  # before anything is sent
    return images.report(target.name, images.send_named(images.parse(args.positionals[0]), target))
