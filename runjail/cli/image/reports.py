"""ls, inspect, layerinfo: what images are, for people and for programs."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.image.session import ImageSession, warn
from runjail.cli.main import Context, write_stdout
from runjail.cli.reports import choice, plain, table
from runjail.errors import ImageError
from runjail.image import digest as digests
from runjail.image import platform, resolve
from runjail.image.crypto import ocicrypt
from runjail.sizes import show_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.cli.args import Args
    from runjail.image.resolve import Image
    from runjail.storage.base import LayerInfo


def list_(args: Args, context: Context) -> int:
    """List images, with the sizes that the store knows."""
    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    names = images.content.names() if images.there() else {}
    if args.flag("quiet"):
        return write_stdout("".join(f"{name}\n" for name in sorted(names)))
    stored = _stored(images)
    rows = []
    for name in sorted(names):
        try:
            rows += [_listed(image, stored) for image in resolve.every(images.content.read, name, names[name])]
        except ImageError as error:  # of a damaged disk; the others are there
            warn(f"{name}: {error}")
    if form == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    heading = ("NAME", "DIGEST", "PLATFORM", "BLOBS", "UNPACKED", "ENCRYPTED", "CREATED")
    return write_stdout(table([heading, *[_row(row) for row in rows]]) + f"store {images.chosen()}\n")


def _stored(images: ImageSession) -> dict[str, LayerInfo]:
    """Return the unpacked layers by chainID; of one that is there openly and sealed, either."""
    return {layer.chain: layer for layer in images.store.layers()} if images.there() else {}


def _listed(image: Image, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    chains = digests.chain_ids(image.config.diff_ids)
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


def _row(said: dict[str, Any]) -> tuple[str, ...]:
    short = said["digest"].partition(":")[2][:12]
    unpacked = "-" if said["unpacked"] is None else show_size(said["unpacked"])
    encrypted = "yes" if said["encrypted"] else "no"
    when = (said["created"] or "-")[:19]
    return (said["name"], short, said["platform"], show_size(said["blobs"]), unpacked, encrypted, when)


def inspect(args: Args, context: Context) -> int:
    """Show one image: what it runs, its layers, their encryption and where they are unpacked."""
    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    with images.open_remote_or_local(args.words[0]) as (name, top, read):
        image = resolve.load(read, name, top, images.platforms())
    document = _inspected(image, _stored(images))
    if form == "json":
        return write_stdout(jsonio.dumps(document, indent=2) + "\n")
    facts = [
        (key, _cell(document[key])) for key in ("name", "digest", "manifest", "config", "platform", "created", "runs")
    ]
    heading = ("#", "DIGEST", "SIZE", "ADDS", "ENCRYPTION", "RECIPIENTS", "STORED")
    rows = [_layer_row(number, layer) for number, layer in enumerate(document["layers"])]
    return write_stdout(table(facts) + "\n" + table([heading, *rows]))


def _inspected(image: Image, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    run = {
        name: image.config.run(name) for name in ("Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels", "Volumes")
    }
    words = [*(run["Entrypoint"] or []), *(run["Cmd"] or [])] if _are_lists(run["Entrypoint"], run["Cmd"]) else []
    return {
        **_listed(image, stored),
        "config": image.manifest.config.digest,
        "runs": words,
        "settings": {name: value for name, value in run.items() if value is not None},
        "layers": [_inspected_layer(image, number, stored) for number in range(len(image.manifest.layers))],
    }


def _are_lists(*values: object) -> bool:
    return all(value is None or isinstance(value, list) for value in values)


def _inspected_layer(image: Image, number: int, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    layer = image.manifest.layers[number]
    chain = digests.chain_ids(image.config.diff_ids[: number + 1])[-1]
    there = stored.get(chain)
    return {
        "digest": layer.digest,
        "mediaType": layer.media_type,
        "size": layer.size,
        "diffID": image.config.diff_ids[number],
        "chainID": chain,
        "encryption": ocicrypt.schemes(layer),
        "recipients": ocicrypt.recipients(layer),
        "dataset": there.name if there else None,
        "adds": there.size if there else None,
        "usedBy": list(there.users) if there else [],
    }


def _layer_row(number: int, layer: dict[str, Any]) -> tuple[str, ...]:
    adds = "-" if layer["adds"] is None else show_size(layer["adds"])
    encryption, recipients = ",".join(layer["encryption"]), ", ".join(layer["recipients"])
    short = layer["digest"].partition(":")[2][:12]
    return (
        str(number),
        short,
        show_size(layer["size"]),
        adds,
        encryption,
        recipients,
        layer["dataset"] or "-",
    )


def layerinfo(args: Args, context: Context) -> int:
    """Show who can decrypt each layer, with the columns of imgcrypt's `ctr-enc images layerinfo`."""
    images = ImageSession(args, context, make=False)
    form = choice(args, "table", "json")
    with images.open_remote_or_local(args.words[0]) as (name, top, read):
        found = resolve.every(read, name, top)
    wanted = images.platforms() if args.many("platform") else []
    chosen = [
        image for image in found if not wanted or any(platform.fits(image.config.platform, each) for each in wanted)
    ]
    rows = [
        _info(image, number) for image in chosen for number in _numbers(images.layers(), len(image.manifest.layers))
    ]
    if form == "json":
        return write_stdout(jsonio.dumps(rows) + "\n")
    heading = ("#", "DIGEST", "PLATFORM", "SIZE", "ENCRYPTION", "RECIPIENTS")
    return write_stdout(_right([heading, *[tuple(map(_cell, row.values())) for row in rows]]))


def _numbers(asked: list[int], count: int) -> list[int]:
    return sorted({number % count for number in asked if -count <= number < count}) if asked else list(range(count))


def _info(image: Image, number: int) -> dict[str, Any]:
    layer = image.manifest.layers[number]
    return {
        "layer": number,
        "digest": layer.digest,
        "platform": platform.describe(image.config.platform),
        "size": layer.size,
        "encryption": ",".join(ocicrypt.schemes(layer)),
        "recipients": ", ".join(ocicrypt.recipients(layer)),
    }


def _right(rows: list[tuple[str, ...]]) -> str:
    """Return columns aligned to the right, three blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("".join(cell.rjust(width + 3) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else "-" if value is None else jsonio.dumps(value)
    return plain(text)
