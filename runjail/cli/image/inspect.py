"""inspect: one image, what it runs, its layers, their encryption and where they are unpacked."""

from __future__ import annotations

from runjail import jsonio
from runjail.cli.args import TEMPLATE, Args
from runjail.cli.context import Context, write_stdout
from runjail.cli.image.layerinfo import cell, encryption
from runjail.cli.image.ls import listed, stored_layers
from runjail.cli.image.options import AUTH, INSECURE, PLATFORM
from runjail.cli.image.remote import opened
from runjail.cli.image.session import ImageSession
from runjail.cli.output import AS_IS, table
from runjail.cli.template import template
from runjail.image import resolve
from runjail.image.digest import chain_ids
from runjail.image.resolve import Image
from runjail.sizes import show_size
from runjail.storage.base import LayerInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELP = "show layers, sizes, encryption, recipients and datasets"
ARGS = ("SRC",)
OPTIONS = (PLATFORM, AUTH, INSECURE, TEMPLATE)


def run(args: Args, context: Context) -> int:
    """Show one image: what it runs, its layers, their encryption and where they are unpacked."""
    images = ImageSession(args, context, make=False)
    form = template(args)
    with opened(images, images.parse(args.positionals[0])) as (name, top, read):
        image = resolve.load(read, name, top, images.platforms())
    document = _inspected(image, stored_layers(images))
    if form:
        return write_stdout(form.render([document]))
    if args.text("format") == "json":
        return write_stdout(jsonio.dumps(document, indent=2) + "\n")
    facts = [
        (key, cell(document[key])) for key in ("name", "digest", "manifest", "config", "platform", "created", "runs")
    ]
    heading = ("#", "DIGEST", "SIZE", "ADDS", "ENCRYPTION", "RECIPIENTS", "STORED")
    rows = [_layer_row(number, layer) for number, layer in enumerate(document["layers"])]
    return write_stdout(table(facts, fit=AS_IS) + "\n" + table([heading, *rows]))


def _inspected(image: Image, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    run = {
        name: image.config.run(name) for name in ("Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels", "Volumes")
    }
    words = [*(run["Entrypoint"] or []), *(run["Cmd"] or [])] if _are_lists(run["Entrypoint"], run["Cmd"]) else []
    return {
        **listed(image, stored),
        "config": image.manifest.config.digest,
        "runs": words,
        "settings": {name: value for name, value in run.items() if value is not None},
        "layers": [_inspected_layer(image, number, stored) for number in range(len(image.manifest.layers))],
    }


def _are_lists(*values: object) -> bool:
    return all(value is None or isinstance(value, list) for value in values)


def _inspected_layer(image: Image, number: int, stored: dict[str, LayerInfo]) -> dict[str, Any]:
    layer = image.manifest.layers[number]
    chain = chain_ids(image.config.diff_ids[: number + 1])[-1]
    there = stored.get(chain)
    return {
        "digest": layer.digest,
        "mediaType": layer.media_type,
        "size": layer.size,
        "diffID": image.config.diff_ids[number],
        "chainID": chain,
        **encryption(layer),
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
