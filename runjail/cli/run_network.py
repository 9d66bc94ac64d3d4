"""What --network NAME and --publish of `run --image` mean, and what networks tell the files of /etc."""

from __future__ import annotations

import os
from typing import Any

from runjail import log
from runjail.cli.args import Args
from runjail.cli.context import Context
from runjail.cli.network.places import Places, places
from runjail.container.container import Runtime
from runjail.container.network import Networks
from runjail.errors import NetworkError, UsageError
from runjail.image.bundle import etc_files
from runjail.image.bundle.etc_files import Names
from runjail.network import attachment, lists, pasta, plugins, ports, slirp4netns, usermode
from runjail.network.lists import PORTS, NetworkList
from runjail.network.usermode import UserNetwork

ALONE = ("host", "none")
PROGRAMS = (pasta.NAME, slirp4netns.NAME)  # networks of podman's that are no lists but programs
MAKE = "runjail network create NAME makes one, --network host goes without"


def wanted(args: Args, context: Context, runtime: Runtime) -> Networks:
    """Return what a container is to be attached to. Raises UsageError, NetworkError, InvalidConfig."""
    words = [name for word in args.many("network") for name in word.split(",")]
    published = ports.mappings(args.many("publish"))
    if len(set(words)) < len(words) or (len(words) > 1 and set(ALONE) & set(words)):
        raise UsageError(f"--network: host and none stand alone, and a name stands once: {', '.join(words)[:200]}")
    if published and words and words[0] in ALONE:
        raise UsageError(f"--publish is of no use with --network {words[0]}", "--network NAME has ports of its own")
    for name in words:
        if name not in ALONE and not lists.is_name(name):
            raise UsageError(f"--network: not host, none, pasta, slirp4netns or a network's name: {name[:80]!r}")
    settled = places(context)
    found = [lists.find(name, settled.directories) for name in words] or [_first(settled)]
    if published and not any(each.can(PORTS) for each in found):
        names = ", ".join(each.name for each in found)
        raise NetworkError(f"network {names}: no plugin of it publishes ports", 'portmap does, with "portMappings"')
    for each in found:
        for plugin in each.plugins:
            plugins.find(plugin["type"], settled.bins)
    return _networks(args.positionals[0], found, published, settled, runtime)


def program(args: Args, context: Context) -> UserNetwork | None:
    """Return the program that is the container's network, None for another network. Raises UsageError, NetworkError."""
    given = args.many("network")
    name, _, options = next((word for word in given if word.partition(":")[0] in PROGRAMS), "").partition(":")
    if not name:
        return None
    if len(given) > 1:
        raise UsageError(f"--network {name} stands alone: {', '.join(given)[:200]}")
    if context.host().os != "linux":
        raise UsageError(f"--network {name}: such programs are of Linux", "--network NAME, of runjail network create")
    how = pasta.network if name == pasta.NAME else slirp4netns.network
    found = how(options, ports.mappings(args.many("publish")), user=context.own_ids() is not None)
    _require_device(name)
    return found


def _require_device(name: str) -> None:
    if os.access(usermode.DEVICE, os.R_OK | os.W_OK):
        return
    there = os.path.exists(usermode.DEVICE)
    hint = f"chmod a+rw {usermode.DEVICE}, as most systems have it" if there else "modprobe tun makes it"
    cause = "access refused" if there else "does not exist"
    raise NetworkError(f"--network {name} takes {usermode.DEVICE}: {cause}", hint)


def _first(settled: Places) -> NetworkList:
    """Return the network of a container whose ports are published and for which nobody says one."""
    found = next((each for each in lists.load(settled.directories, log.warning) if each.can(PORTS)), None)
    if not found:
        raise NetworkError(f"--publish: there is no network in {' or '.join(settled.directories)}", MAKE)
    return found


def _networks(
    container_id: str, found: list[NetworkList], published: list[dict[str, Any]], settled: Places, runtime: Runtime
) -> Networks:
    state = os.path.abspath(runtime.container(container_id).path)
    namespace = runtime.host.networks().name(state)
    common = {
        "id": f"{_plain(container_id)}-{os.urandom(6).hex()}",  # ids are one below one --root
        "name": container_id,
        "namespace": namespace,
        "directories": settled.bins,
        "timeout": settled.timeout,
    }
    return Networks(namespace, attachment.attachments(found, published, common), lambda _results: None)


def _plain(container_id: str) -> str:
    """Return an id as far as CNI takes it (section 2, Parameters)."""
    kept = "".join(each if lists.is_name(f"a{each}") else "-" for each in container_id[:100])
    return kept if lists.is_name(kept) else f"c{kept}"


def tell(results: list[dict[str, Any]], names: Names, bundle: str) -> None:
    """Write what the networks say into the files of a bundle's /etc. Raises StorageError."""
    addresses = [address for result in results for address in attachment.addresses(result)]
    gateways = [gateway for result in results for gateway in attachment.gateways(result)]
    names = names.replace(addresses=tuple(addresses), gateway=gateways[0] if gateways else "")
    dns = next((found for found in map(attachment.resolver, results) if found["nameservers"]), None)
    if dns and names.servers is None:
        names = names.replace(
            servers=dns["nameservers"], search=names.search or dns["search"], options=names.options or dns["options"]
        )
    if names.resolver and "nameserver " not in etc_files.resolver(names):
        log.warning("the container knows no name server: it can reach none of the host's; --dns ADDRESS names one")
    etc_files.tell(bundle, names)


def tell_program(program: UserNetwork, names: Names, bundle: str) -> None:
    """Write what a program's network is like into the files of a bundle's /etc. Raises StorageError."""
    addresses = (program.address,) if program.address else ()
    etc_files.tell(bundle, names.replace(addresses=addresses, gateway=program.gateway, server=program.server))
