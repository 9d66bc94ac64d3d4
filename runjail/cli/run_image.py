"""run --image, and what `delete` has to take back of it."""

from __future__ import annotations

import os
from functools import partial

from runjail.cli.image.manage import storage_size, unpacked
from runjail.cli.image.session import ImageSession
from runjail.cli.main import Context
from runjail.errors import ContainerExists, StoreNotFound, UsageError
from runjail.image.bundle import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.cli.args import Args
    from runjail.container.container import Runtime
    from runjail.image.bundle.owned import OwnedBundle


def new_owned_bundle(args: Args, context: Context, states: Runtime) -> OwnedBundle:
    """Return what makes the bundle of --image; leaving it takes the bundle back unless the container exists."""
    from runjail.container.query import is_used

    container_id = args.words[0]
    container = states.container(container_id)
    if args.text("bundle"):
        raise UsageError("run takes --bundle or --image, not both")
    if container.exists():
        raise ContainerExists(container_id)
    name = f"{container_id[:200]}-{os.urandom(6).hex()}"  # the same id may exist below another --root
    used = partial(is_used, states.host)
    return owned.OwnedBundle(ImageSession(args, context).store, name, os.path.abspath(container.path), used)


def fill(making: OwnedBundle, args: Args, context: Context) -> dict[str, Any]:
    """Unpack the image, give the bundle its root, and return its config.json, which is written there as well."""
    from runjail.image.bundle.oci_config import LONGEST_HOSTNAME, config

    images = ImageSession(args, context, store=making.store)
    limit, network = storage_size(args), _network(args)
    with images.content.lease():
        image, found = unpacked(images, args.text("image"))
        root = images.store.create_rootfs(
            making.name,
            found.chain,
            seal=found.seal,
            size=limit,
            properties=making.properties(),
            transient=not (args.flag("detach") or args.flag("keep")),
        )
    document = config(
        image.config,
        root,
        host=context.host().os,
        args=context.rest,
        user=args.text("user"),
        cwd=args.text("workdir"),
        hostname=args.text("hostname") or args.words[0][:LONGEST_HOSTNAME],
        network=network,
        readonly=args.flag("read-only"),
    )
    environment = document["process"]["env"]
    if args.flag("tty") and not any(variable.startswith("TERM=") for variable in environment):
        environment.append("TERM=xterm")  # what every terminal of today understands
    annotations = document.setdefault("annotations", {})
    annotations["org.runjail.image.name"] = image.name
    annotations["org.runjail.image.manifest"] = image.descriptor.digest
    owned.write(f"{making.path}/config.json", document)
    return document


def _network(args: Args) -> str:
    network = args.text("network", "host")
    if network not in ("host", "none"):
        raise UsageError(f"--network: not host or none: {network[:40]!r}")
    return network


def release(path: str) -> None:
    """Take back the bundle of a container that is gone, if the store made it."""
    from runjail.storage.open import open_store

    location = owned.location(path)
    if location:
        try:
            store = open_store(location, default="", make=False)
        except StoreNotFound:  # somebody removed it, and the bundle's root with it
            return
        if owned.belongs(store, path):
            owned.roll_back(store, path)
