"""run --image: the bundle of an image, and what `delete` has to take back of it."""

from __future__ import annotations

import os
import posixpath

from runjail import log
from runjail.cli import run_faults, run_names, run_options
from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.image.options import storage_size
from runjail.cli.image.session import ImageSession
from runjail.cli.process import change, volume_mounts
from runjail.cli.progress import copying
from runjail.container.container import Runtime
from runjail.container.program import exit_code
from runjail.errors import ContainerExists, HostError, ProgramDenied, ProgramNotFound, StoreNotFound, UsageError
from runjail.image.bundle import etc_files, owned, volumes
from runjail.image.bundle.oci_config import LONGEST_HOSTNAME, config
from runjail.image.bundle.owned import OwnedBundle
from runjail.image.resolve import Image
from runjail.scope import scope
from runjail.spec.document import read
from runjail.storage.base import RootfsUse, check_volume_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runjail.container.network import Networks
    from runjail.network.usermode import UserNetwork
    from runjail.spec.model import IdMappings


@scope
def owned_bundle(args: Args, context: Context, runtime: Runtime, network: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make the bundle of --image and yield its path and config.json. network: the first of what `networks` returns.

    Leaving the context takes the bundle back unless the container exists by then.
    """
    from runjail.container.query import is_used

    container_id = args.positionals[0]
    container = runtime.container(container_id)
    if args.text("bundle"):
        raise UsageError("run takes --bundle or --image, not both")
    if container.exists():
        raise ContainerExists(container_id)
    images = ImageSession(args, context)
    cidfile = os.path.abspath(args.text("cidfile")) if args.text("cidfile") else ""
    name = f"{container_id[:200]}-{os.urandom(6).hex()}"  # the same id may exist below another --root

    def used(directory: str, bundle: str) -> bool:
        return is_used(runtime.host, directory, bundle)

    place = os.path.abspath(container.path)
    with owned.OwnedBundle(images.store, name, place, used, cidfile, apart=context.apart) as bundle:
        ids = context.own_ids()
        made: list[dict[str, Any]] = []
        context.apart(lambda: made.append(_fill(bundle, images, network, ids)))
        if not made:  # another process did it
            found: Any = read(f"{bundle.path}/config.json")
            made.append(found)
        yield bundle.path, made[0]


def _fill(bundle: OwnedBundle, images: ImageSession, network: str, ids: IdMappings | None) -> dict[str, Any]:
    """Unpack the image, give the bundle its root, and return its config.json: written once, with every option.

    ids: of an ordinary user's user namespace.
    """
    args, limit = images.args, storage_size(images.args)
    binds = volume_mounts(args.many("volume"))  # first: a mistake in one costs no download
    found_options = run_options.options_of(args, images.context.host().os)
    run_faults.check(args, found_options, binds, network, images.context.host().os)
    entrypoint = run_options.entrypoint(args)
    names = run_names.names(args, args.positionals[0], hostname(args), network)
    more = [*found_options["mounts"], *binds]
    for mount in more:
        if mount["type"] == volumes.KIND:
            check_volume_name(mount["source"])
    with images.content.lease():
        image, found = images.unpack(images.parse(args.text("image")))
        label = found_options["security"]["label"]
        if label and not images.store.labels:
            log.warning(f"{images.store.location} cannot label files for SELinux; a store of overlays can")
        transient = not (args.flag("detach") or args.flag("keep"))
        with copying(args.positionals[0], quiet=images.flag("quiet")) as report:
            use = RootfsUse(limit, bundle.properties(), transient=transient, label=label, report=report)
            root = images.store.create_rootfs(bundle.name, found.chain, found.seal, use)
    named = volumes.resolve(more, images.store)
    taken = [posixpath.normpath(mount["destination"]) for mount in more]
    etc = etc_files.make(bundle.path, names, images.context.host().os, taken, label)
    document = _config(image, root, images, network, entrypoint, etc)
    run_options.apply(document, found_options)
    document["mounts"] += binds
    if ids:
        from runjail.image.bundle import ordinary

        ordinary.adapt(document, ids.uids, ids.gids)
    owned.write(f"{bundle.path}/config.json", document)
    volumes.fill(named, images.store, root)
    return document


def hostname(args: Args) -> str:
    """Return the container's name for itself."""
    return args.text("hostname") or args.positionals[0][:LONGEST_HOSTNAME]


def _config(
    image: Image, root: str, images: ImageSession, network: str, entrypoint: list[str], etc: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return config.json of an image with what the options say instead."""
    args, context = images.args, images.context
    document = config(
        image.config,
        root,
        host=context.host().os,
        args=context.rest or entrypoint,
        user=args.text("user"),
        cwd=args.text("workdir"),
        hostname=hostname(args),
        network=network,
        readonly=args.flag("read-only"),
        etc=etc,
    )
    if entrypoint:
        document["process"]["args"] = [*entrypoint, *context.rest]
    environment = document["process"]["env"]
    if args.flag("tty") and not any(variable.startswith("TERM=") for variable in environment):
        environment.append("TERM=xterm")  # what every terminal of today understands
    change(document, args, [])
    annotations = document.setdefault("annotations", {})
    annotations["org.runjail.image.name"] = image.name
    annotations["org.runjail.image.manifest"] = image.descriptor.digest
    return document


def networks(args: Args, context: Context, runtime: Runtime) -> tuple[str, Networks | None, UserNetwork | None]:
    """Return which network the container has, and what it is then attached to, or which program is its network.

    The first is "host", "none", "private" or the name of a network that will be there.

    Raises UsageError, NetworkError, InvalidConfig.
    """
    words = args.many("network")
    if not args.many("publish") and words in ([], ["host"], ["none"]):
        return (words or ["host"])[0], None, None
    from runjail.cli import run_network

    if program := run_network.program(args, context):
        return "private", None, program
    found = run_network.wanted(args, context, runtime)
    return found.namespace, found, None


def telling(networks: Networks, bundle: str, args: Args) -> Networks:
    """Return networks whose results get into the files of /etc of a bundle."""
    from runjail.cli import run_network

    names = run_names.names(args, args.positionals[0], hostname(args), networks.namespace)
    return networks.replace(on_results=lambda results: run_network.tell(results, names, bundle))


def tell(program: UserNetwork, bundle: str, args: Args) -> None:
    """Write what a program's network is like into the files of /etc of a bundle."""
    from runjail.cli import run_network

    run_network.tell_program(program, run_names.names(args, args.positionals[0], hostname(args), "private"), bundle)


@scope
def in_podmans_words(args: Args, document: dict[str, Any]) -> Iterator[None]:
    """Have runjail exit with 127 for a program that is missing, and 126 for one that cannot be executed.

    podman and docker do, and so do shells (XCU 2.8.2). A bundle's `run`, as runc's, exits with 1. An error about a
    mount is one about an option. document: config.json.
    """
    try:
        yield
    except (ProgramNotFound, ProgramDenied) as error:
        error.code = exit_code(error)
        raise
    except HostError as error:
        error.args = (run_faults.told(str(error), args, document["mounts"]),)
        raise


def release(path: str, context: Context) -> None:
    """Take back the bundle of a container that is gone, if the store made it."""
    context.apart(lambda: _release(path))


def _release(path: str) -> None:
    from runjail.storage.open import open_store

    location = owned.location(path)
    if location:
        try:
            store = open_store(location, default="", make=False)
        except StoreNotFound:  # somebody removed it, and the bundle's root with it
            return
        if owned.belongs(store, path):
            owned.roll_back(store, path)
