"""layerinfo: who can decrypt each layer, with the columns of imgcrypt's `ctr-enc images layerinfo`."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import FORMAT, Args, ignored
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.options import AUTH, INSECURE, LAYER, PLATFORM, layers
from runjail.cli.image.remote import opened
from runjail.cli.image.session import ImageSession
from runjail.cli.output import choice, plain
from runjail.image import platform, resolve
from runjail.image.model import Descriptor
from runjail.image.resolve import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELP = "show how each layer is encrypted, and to whom"
ARGS = ("SRC",)
OPTIONS = (LAYER, PLATFORM, AUTH, INSECURE, ignored("n"), FORMAT)


def run(args: Args, context: Context) -> int:
    """Show who can decrypt each layer, with the columns of imgcrypt's `ctr-enc images layerinfo`."""
    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    with opened(images, images.parse(args.positionals[0])) as (name, top, read):
        found = resolve.every(read, name, top)
    wanted = images.platforms() if args.many("platform") else []
    chosen = [
        image for image in found if not wanted or any(platform.fits(image.config.platform, each) for each in wanted)
    ]
    rows = [_info(image, number) for image in chosen for number in _numbers(layers(args), len(image.manifest.layers))]
    if form == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    heading = ("#", "DIGEST", "PLATFORM", "SIZE", "ENCRYPTION", "RECIPIENTS")
    return write_stdout(_right([heading, *[tuple(map(cell, row.values())) for row in rows]]))


def _numbers(asked: list[int], count: int) -> list[int]:
    return sorted({number % count for number in asked if -count <= number < count}) if asked else list(range(count))


def _info(image: Image, number: int) -> dict[str, Any]:
    layer = image.manifest.layers[number]
    how = encryption(layer)
    return {
        "layer": number,
        "digest": layer.digest,
        "platform": platform.describe(image.config.platform),
        "size": layer.size,
        "encryption": ",".join(how["encryption"]),
        "recipients": ", ".join(how["recipients"]),
    }


def encryption(layer: Descriptor) -> dict[str, list[str]]:
    """Return by which schemes a layer is encrypted, and to whom."""
    if not layer.encrypted:
        return {"encryption": [], "recipients": []}
    from runjail.image.crypto import ocicrypt  # only encrypted images pay for it

    return {"encryption": ocicrypt.schemes(layer), "recipients": ocicrypt.recipients(layer)}


def _right(rows: list[tuple[str, ...]]) -> str:
    """Return columns aligned to the right, three blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("".join(cell.rjust(width + 3) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """Return what is known as text for a person."""
    text = value if isinstance(value, str) else "-" if value is None else jsonio.dumps(value)
    return plain(text)
