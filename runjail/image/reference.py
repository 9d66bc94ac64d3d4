"""How images are named on the command line and in the store.

    oci:DIR[:TAG]              an OCI layout (image-spec, image-layout.md)
    oci-archive:FILE[:TAG]     the same in a tar file, compressed or not
    docker-archive:FILE[:REF]  what `docker save` writes
    rootfs:PATH                a directory, or a tar file, that is a root file system
    [HOST/]REPOSITORY[:TAG][@DIGEST]   in a registry, or pulled from there; docker's short names are understood
    ALGORITHM:DIGITS           the digest of an image in the store, or how it begins

A path ends at the first colon, as with skopeo: what follows is the name inside.
"""

from __future__ import annotations

import re

from runjail.errors import ImageError, UsageError
from runjail.image import digest as digests
from runjail.record import Record

PLACES = ("oci", "oci-archive", "docker-archive", "rootfs")
DOCKER = "docker.io"  # the registry of names without a host; a name without a slash is below its `library`
LONGEST = 255  # of a repository (distribution-spec, Pulling manifests) and of a name inside a layout

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_WORD = r"[A-Za-z0-9]+(?:(?:--|[-._:@+])[A-Za-z0-9]+)*"
DIGITS = re.compile(r"[0-9a-f]{12,128}")  # of a digest, as much of it as lists show
POSITION = re.compile(r"@[0-9]{1,4}")  # of an image in a docker archive that may have no name
INSIDE = re.compile(rf"{_WORD}(?:/{_WORD})*")  # org.opencontainers.image.ref.name (image-spec, annotations.md)


class Reference(Record):
    """A name, taken apart. kind: one of PLACES, "registry" or "digest"; path and tag belong to places.

    The rest belongs to registries, whose tag is "" only when there is a digest; a place's is "" when none was given.
    digest: of kind "digest" it may be the beginning of one.
    """

    kind: str
    path: str = ""
    host: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The canonical text: what parses to this reference again, short names in full."""
        tag = f":{self.tag}" if self.tag else ""
        if self.kind == "digest":
            return self.digest
        if self.kind != "registry":
            return f"{self.kind}:{self.path}{tag}"
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Take a name apart. Raises UsageError for what is none."""
    kind, colon, rest = text.partition(":")
    if not text or "\0" in text:
        raise UsageError("an image needs a name" if not text else "an image's name holds a NUL")
    if colon and kind in PLACES:
        return _place(kind, rest)
    if colon and kind in digests.LENGTHS:
        if not DIGITS.fullmatch(rest):
            raise UsageError(f"not a digest: {text[:200]!r}", "at least its first 12 digits are needed")
        return Reference("digest", digest=text)
    if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        hint = f"a layout is oci:{text}, an archive oci-archive:{text}, a root file system rootfs:{text}"
        raise UsageError(f"not an image's name: {text[:200]!r}", hint)
    return _registry(text.removeprefix("docker://"))


def _place(kind: str, rest: str) -> Reference:
    path, _, tag = rest.partition(":")
    if not path:
        raise UsageError(f"{kind}: must be followed by a path")
    if kind == "rootfs":
        return Reference(kind, rest)
    if kind == "docker-archive" and POSITION.fullmatch(tag):
        return Reference(kind, path, tag=tag)
    if rest.endswith(":") or (tag and (len(tag) > LONGEST or not INSIDE.fullmatch(tag))):
        raise UsageError(f"{kind}:{path}: not a tag: {tag[:200]!r}")
    return Reference(kind, path, tag=tag)


def _registry(text: str) -> Reference:
    name, at, digest = text.partition("@")
    if at:
        try:
            digests.parse(digest)
        except ImageError as error:
            raise UsageError(f"{text[:200]!r}: {error}") from None
    host, repository = _split_host(name)
    repository, colon, tag = repository.partition(":")
    if host == DOCKER and "/" not in repository:
        repository = f"library/{repository}"
    if not HOST.fullmatch(host):
        raise UsageError(f"{text[:200]!r}: not a registry's host: {host[:100]!r}")
    if not REPOSITORY.fullmatch(repository) or len(repository) > LONGEST:
        why = ": repositories are lower case" if repository != repository.lower() else ""
        raise UsageError(f"not an image's name: {text[:200]!r}{why}")
    if colon and not TAG.fullmatch(tag):
        raise UsageError(f"{text[:200]!r}: not a tag: {tag[:200]!r}")
    return Reference("registry", "", host, repository, tag or ("" if digest else "latest"), digest)


def _split_host(name: str) -> tuple[str, str]:
    """Return (host, repository and tag). The first component is a host when no repository could be called that."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(sign in first for sign in ".:[") or first != first.lower()):
        return (DOCKER if first in ("index.docker.io", "registry-1.docker.io") else first), rest
    return DOCKER, name
