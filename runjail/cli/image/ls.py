"""ls: the images in the store, with the sizes that it knows."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args, flag
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.session import ImageSession, warn
from runjail.cli.output import table, terminal_columns
from runjail.cli.template import template
from runjail.errors import ImageError
from runjail.image import platform, resolve
from runjail.image.digest import chain_ids
from runjail.image.resolve import Image
from runjail.sizes import show_size
from runjail.storage.base import LayerInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELP = "list images"
ARGS = ()
OPTIONS = (TEMPLATE, flag("quiet", "q", "only names"))

ALIASES = {"names": "name", "createdat": "created", "size": "blobs"}  # podman's
HEADING = ("NAME", "DIGEST", "PLATFORM", "BLOBS", "UNPACKED", "ENCRYPTED", "CREATED")
ON_TERMINAL = ("NAME", "DIGEST", "PLATFORM", "BLOBS", "ENCRYPTED")  # so that names are seen whole in 80 columns


def run(args: Args, context: Context) -> int:
    """List images, with the sizes that the store knows."""
    images = ImageSession(args, context, make=False)
    form = template(args, ALIASES)
    names = images.content.names() if images.there() else {}
    if args.flag("quiet"):
        return write_stdout("".join(f"{name}\n" for name in sorted(names)))
    stored = stored_layers(images)
    rows = []
    for name in sorted(names):
        try:
            rows += [listed(image, stored) for image in resolve.every(images.content.read, name, names[name])]
        except ImageError as error:  # of a damaged disk; the others are there
            warn(f"{name}: {error}")
    if form:
        return write_stdout(form.render([_named(row) for row in rows]))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    shown = [HEADING, *[_row(row) for row in rows]]
    if terminal_columns():
        shown = [tuple(row[HEADING.index(name)] for name in ON_TERMINAL) for row in shown]
    return write_stdout(table(shown) + f"store {images.chosen()}\n")


def stored_layers(images: ImageSession) -> dict[str, LayerInfo]:
    """Return the unpacked layers by chainID; of one that is there openly and sealed, either."""
    return {layer.chain: layer for layer in images.store.layers()} if images.there() else {}


def listed(image: Image, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    """Return what is known of an image without its layers."""
    chains = chain_ids(image.config.diff_ids)
    top = stored.get(chains[-1]) if chains else None
    created = image.config.data.get("created")
    return {
        "name": image.name,
        "digest": image.top.digest,
        "manifest": image.descriptor.digest,
        "platform": platform.describe(image.config.platform),
        "blobs": sum(layer.size for layer in image.manifest.layers),
        "unpacked": top.total if top else None,
        "encrypted": image.manifest.encrypted,
        "created": created if isinstance(created, str) else None,
    }


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Return what templates of podman's images ask for besides."""
    repository, _, tag = row["name"].rpartition(":")
    return {**row, "id": row["manifest"].partition(":")[2][:12], "repository": repository, "tag": tag}


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    short = row["digest"].partition(":")[2][:12]
    unpacked = "-" if row["unpacked"] is None else show_size(row["unpacked"])
    encrypted = "yes" if row["encrypted"] else "no"
    when = (row["created"] or "-")[:19]
    return (row["name"], short, row["platform"], show_size(row["blobs"]), unpacked, encrypted, when)
