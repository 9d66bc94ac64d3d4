"""How images are named on the command line and in the store.

    oci:DIR[:TAG]              an OCI layout (image-spec, image-layout.md)
    oci-archive:FILE[:TAG]     the same in a tar file, compressed or not
    docker-archive:FILE[:REF]  what `docker save` writes
    rootfs:PATH                a directory, or a tar file, that is a root file system
    [HOST/]REPOSITORY[:TAG][@DIGEST]   in a registry, or pulled from there; docker's short names are understood
    docker://REPOSITORY[:TAG]  there, as skopeo names it
    ALGORITHM:DIGITS           the digest of an image in the store, or how it begins

A path ends at the first colon, as with skopeo: what follows is the name inside.
"""

from __future__ import annotations

from runjail.errors import ImageError, UsageError
from runjail.image import digest as digests
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRY = "docker://"  # before a name: in the registry
PLACES = ("oci", "oci-archive", "docker-archive", "rootfs")
DOCKER = "docker.io"  # the registry of names without a host; a name without a slash is below its `library`
DOCKER_HOSTS = ("index.docker.io", "registry-1.docker.io")  # which are it, too
LONGEST = 255  # of a repository (distribution-spec, Pulling manifests) and of a name inside a layout

NUMBERS = frozenset("0123456789")
LOWER = NUMBERS | set("abcdefghijklmnopqrstuvwxyz")
LETTERS = LOWER | {letter.upper() for letter in LOWER}
ADDRESS = NUMBERS | set("abcdefABCDEF:.")


class Reference(Record):
    """A name, taken apart. kind: one of PLACES, "registry" or "digest"; path and tag belong to places.

    The rest belongs to registries, whose tag is "" only when there is a digest; a place's is "" when none was given.
    digest: of kind "digest" it may be the beginning of one. word: what was parsed, as it was given: a layout may have
    a name just like it.
    """

    kind: str
    path: str = ""
    host: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""
    word: str = ""

    @property
    def remote(self) -> bool:
        """Whether it was said that a registry is meant, and not a name in the store."""
        return self.word.startswith(REGISTRY)

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
    return _parse(text).replace(word=text)


def _parse(text: str) -> Reference:
    kind, colon, rest = text.partition(":")
    if not text or "\0" in text:
        raise UsageError("an image needs a name" if not text else "an image's name holds a NUL")
    if colon and kind in PLACES:
        return _place(kind, rest)
    if colon and kind in digests.LENGTHS:
        if not is_digits(rest):
            raise UsageError(f"not a digest: {text[:200]!r}", "at least its first 12 digits are needed")
        return Reference("digest", digest=text)
    if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        hint = f"a layout is oci:{text}, an archive oci-archive:{text}, a root file system rootfs:{text}"
        raise UsageError(f"not an image's name: {text[:200]!r}", hint)
    return _registry(text.removeprefix(REGISTRY))


def _place(kind: str, rest: str) -> Reference:
    path, _, tag = rest.partition(":")
    if not path:
        raise UsageError(f"{kind}: must be followed by a path")
    if kind == "rootfs":
        return Reference(kind, rest)
    if kind == "docker-archive" and _is_position(tag):
        return Reference(kind, path, tag=tag)
    if rest.endswith(":") or (tag and (len(tag) > LONGEST or not _is_inside(tag))):
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
    if not is_host(host):
        scheme = host in ("http:", "https:")
        hint = "without the scheme: HOST/NAME:TAG; --insecure allows http" if scheme else None
        raise UsageError(f"{text[:200]!r}: not a registry's host: {host[:100]!r}", hint)
    if not is_repository(repository) or len(repository) > LONGEST:
        why = ": repositories are lower case" if repository != repository.lower() else ""
        raise UsageError(f"not an image's name: {text[:200]!r}{why}")
    if colon and not _is_tag(tag):
        raise UsageError(f"{text[:200]!r}: not a tag: {tag[:200]!r}")
    return Reference("registry", "", host, repository, tag or ("" if digest else "latest"), digest)


def _split_host(name: str) -> tuple[str, str]:
    """Return (host, repository and tag)."""
    if has_host(name):
        first, _slash, rest = name.partition("/")
        return (DOCKER if first in DOCKER_HOSTS else first), rest
    return DOCKER, name


def has_host(name: str) -> bool:
    """Whether a registry's name says its host: the first component is one when no repository could be called that."""
    first, slash, _rest = name.partition("/")
    return bool(slash) and (first == "localhost" or any(sign in first for sign in ".:[") or first != first.lower())


def short_name(word: str) -> str:
    """Return the name without tag and digest of a registry's image whose host is not said, "" where it is."""
    name = word.partition("@")[0]
    return "" if word.startswith(REGISTRY) or has_host(name) else name.partition(":")[0]


# What may be in a name: without regular expressions, whose import costs each run of an image 3 ms --------------------


def is_repository(text: str) -> bool:
    """Whether this is a repository's name: components of lower case (distribution-spec, Pulling manifests)."""
    return all(
        _joined(part, LOWER, lambda gap: gap in (".", "_", "__") or not gap.strip("-")) for part in text.split("/")
    )


def is_host(text: str) -> bool:
    """Whether this is a host, a name or an address in brackets, with or without a port."""
    name, colon, port = text.partition("]:" if text.startswith("[") else ":")
    if colon and not (0 < len(port) <= 5 and NUMBERS.issuperset(port)):
        return False
    if text.startswith("["):
        inside = name[1:] if colon else name[1:].removesuffix("]")
        return bool(inside) and (bool(colon) or name.endswith("]")) and ADDRESS.issuperset(inside)
    return all(_joined(label, LETTERS, lambda gap: not gap.strip("-")) for label in name.removesuffix(".").split("."))


def is_digits(text: str) -> bool:
    """Whether this may be how a digest's digits begin: at least as many as lists show."""
    return 12 <= len(text) <= 128 and digests.HEXADECIMAL.issuperset(text)


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= 128 and text[0] not in ".-" and (LETTERS | set("_.-")).issuperset(text)


def _is_position(text: str) -> bool:
    """Whether this is the place of an image in a docker archive that may have no name."""
    return text[:1] == "@" and 0 < len(text[1:]) <= 4 and NUMBERS.issuperset(text[1:])


def _is_inside(text: str) -> bool:
    """Whether this may be org.opencontainers.image.ref.name (image-spec, annotations.md)."""
    return all(_joined(word, LETTERS, lambda gap: gap in {"--", *"-._:@+"}) for word in text.split("/"))


def _joined(text: str, letters: frozenset[str], between: Callable[[str], bool]) -> bool:
    """Whether a text is words of these letters, one at least, with what `between` takes between each two."""
    before = gap = ""
    for letter in text:
        if letter not in letters:
            gap += letter
            continue
        if gap and not (before and between(gap)):
            return False
        before, gap = letter, ""
    return bool(before) and not gap
