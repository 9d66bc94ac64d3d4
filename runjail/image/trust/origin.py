"""Where an image was fetched from, in the words of policy.json: a transport, and a name in it.

See containers-policy.json(5), Supported Transports and their scopes.
"""

from __future__ import annotations

import os

from runjail.image import reference as references
from runjail.image.reference import Reference
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "here"  # instead of a transport: made on this machine, which policy.json says nothing about
DOCKER = "docker"
PATHS = ("oci", "oci-archive")  # those of reference.PLACES whose scopes are paths


class Origin(Record):
    """Where an image came from. transport: of containers, or HERE; identity: what the narrowest scope is called."""

    transport: str
    identity: str

    def __str__(self) -> str:
        return f"{self.transport}:{'//' if self.transport == DOCKER else ''}{self.identity}"

    @property
    def made(self) -> bool:
        """Whether it was made on this machine."""
        return self.transport == HERE

    def scopes(self) -> Iterator[str]:
        """Yield the scopes that hold it, narrowest first, without the transport's own, "".

        Of a registry: the image, its repository, what that is in, the host with its port, then `*.` and what the host
        is in. Of a path: itself and its directories, without the root.
        """
        yield self.identity
        if self.transport == DOCKER:
            yield from _of_registry(self.identity)
        else:
            yield from _of_path(self.identity)


MADE = Origin(HERE, "")


def _of_registry(identity: str) -> Iterator[str]:
    name = repository(identity)
    while name:
        yield name
        host, name = name, name.rpartition("/")[0]
    host = host.partition(":")[0]  # as containers do it, whatever an IPv6 address becomes
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"


def _of_path(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]).startswith("/"):
        yield path


def repository(name: str) -> str:
    """Return a registry image's name without tag and digest."""
    plain = name.partition("@")[0]
    head, slash, last = plain.rpartition("/")
    return head + slash + last.partition(":")[0]


def resolved(reference: Reference) -> Reference:
    """Return a reference without symbolic links in a path that has scopes.

    It is to be opened, and not the one that was given: another user may turn a link after it was asked for.
    """
    return reference.replace(path=os.path.realpath(reference.path)) if reference.kind in PATHS else reference


def origin_of(reference: Reference) -> Origin:
    """Return what policy.json calls the place that a reference names. reference: `resolved`.

    A registry's image with a tag and a digest is the one of the digest, as podman has it. docker-archive has no scopes.
    """
    if reference.kind == "registry":
        named = reference.replace(tag="") if reference.digest else reference
        return Origin(DOCKER, named.name)
    if reference.kind not in references.PLACES or reference.kind == "rootfs":
        return MADE
    if reference.kind == "docker-archive":
        return Origin(reference.kind, "")
    return Origin(reference.kind, os.fsencode(reference.path).decode("utf-8", "backslashreplace"))
