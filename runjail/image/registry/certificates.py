"""Authorities and client certificates of single registries (containers-certs.d(5)).

A directory for a server, named HOST or HOST:PORT, holds

    NAME.crt              certificates of authorities that its certificate may come from, besides the system's
    NAME.cert, NAME.key   what it is told of who we are, and the key for that

Each server has its own, one that a request is redirected to as well: a client certificate is shown to nobody else.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

from runjail import files, log
from runjail.errors import ImageError, UnreadableFile, reason
from runjail.image.reference import DOCKER
from runjail.image.registry.urls import PORTS, Url

LARGEST = 1 << 20  # bytes of a file
OWN = ".config/containers/certs.d"  # below $HOME
PLACES = ("/usr/local/etc/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
DOCKER_SERVER = "registry-1.docker.io"  # where docker.io's registry is
MARK = b"-----BEGIN"


def directory_of(url: Url, environ: Mapping[str, str]) -> str:
    """Return the directory of a server, the first that there is, "" where there is none or the URL is not https."""
    if url.scheme != "https":
        return ""
    names = [url.authority, *([f"{url.name}:{PORTS['https']}"] if url.port == PORTS["https"] else [])]
    names += [DOCKER] if url.host == DOCKER_SERVER else []
    own = f"{environ['HOME']}/{OWN}" if environ.get("HOME", "").startswith("/") else ""
    found = (f"{place}/{name}" for place in (own, *PLACES) if place for name in names)
    return next((path for path in found if os.path.isdir(path)), "")


def load(directory: str, context: ssl.SSLContext) -> None:
    """Take the certificates of a server's directory into a context. Raises ImageError that names the file."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise ImageError(f"{directory}: {reason(error)}") from None
    clients = []
    for name in names:
        stem, _, kind = name.rpartition(".")
        if kind == "crt":
            _load_authorities(f"{directory}/{name}", context)
        elif kind in ("cert", "key"):
            other = f"{stem}.key" if kind == "cert" else f"{stem}.cert"
            if other not in names:
                raise ImageError(f"{directory}/{name}: {other} is missing", "authorities are in files named *.crt")
            clients += [f"{directory}/{stem}"] if kind == "cert" else []
    for more in clients[1:]:
        log.warning(f"{more}.cert: not used, {clients[0]}.cert is")
    if clients:
        _load_client(clients[0], context)


def _load_authorities(path: str, context: ssl.SSLContext) -> None:
    """Believe authorities, as PEM or DER. As in other clients the certificate of the server itself may be one."""
    content = _read(path)
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "ignore") if MARK in content else content)
    except (ssl.SSLError, ValueError):
        raise ImageError(f"{path}: holds no certificate, as PEM or DER") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_client(stem: str, context: ssl.SSLContext) -> None:
    for kind in ("cert", "key"):
        _read(f"{stem}.{kind}")  # OpenSSL would wait for a FIFO, and names no file
    try:
        context.load_cert_chain(f"{stem}.cert", f"{stem}.key", password=lambda: b"")  # else it asks at the terminal
    except (ssl.SSLError, ValueError, OSError) as error:
        why = "cannot be used: a certificate and its key, as PEM and without a password, are wanted"
        raise ImageError(f"{stem}.cert and {stem}.key: {why}") from error


def _read(path: str) -> bytes:
    try:
        return files.read(path, LARGEST)
    except UnreadableFile as error:
        raise ImageError(str(error)) from None
