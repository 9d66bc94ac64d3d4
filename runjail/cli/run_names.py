"""What --hostname, --add-host and --dns of `run --image` say of names."""

from __future__ import annotations

import _socket

from runjail.cli.args import Args
from runjail.errors import UsageError
from runjail.image.bundle.etc_files import Names

NOBODY = "none"  # --dns none: no resolv.conf


def names(args: Args, container_id: str, hostname: str, network: str) -> Names:
    """Return what the files of /etc are made of. network: as run_image.networks has it. Raises UsageError."""
    servers, search, options = args.many("dns"), args.many("dns-search"), args.many("dns-option")
    if network == "none" and (servers or search or options):
        raise UsageError("--dns is of no use with --network none")
    for server in servers:
        if server != NOBODY:
            _address(server, "--dns")
    for text in (*search, *options):
        if not text.isprintable() or " " in text or not text:
            raise UsageError(f"--dns-search and --dns-option take one word each, not {text[:80]!r}")
    return Names(
        hostname,
        (container_id,),
        tuple(_host(text) for text in args.many("add-host")),
        tuple(servers) or None,
        tuple(domain for domain in search if domain != ".") if search else None,
        tuple(options) or None,
        network != "none" and NOBODY not in servers,
        network not in ("host", "none"),
    )


def _host(text: str) -> tuple[str, str]:
    """Return the address and the name of NAME:ADDRESS, as podman writes it."""
    name, _, address = text.partition(":")
    if not name or not address or not name.isprintable() or set(name) & set(" #"):
        raise UsageError(f"--add-host: not NAME:ADDRESS: {text[:80]!r}")
    return _address(address.removeprefix("[").removesuffix("]"), "--add-host"), name


def _address(text: str, option: str) -> str:
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        _socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise UsageError(f"{option}: not an address: {text[:80]!r}") from None
    return text
