"""What words name: without a host docker.io's images, unless registries.conf says otherwise."""

from __future__ import annotations

from runjail.cli.named_option import named
from runjail.errors import ImageNotFound, RegistryError, UsageError
from runjail.image import platform
from runjail.image import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from runjail.image.model import Platform
    from runjail.image.reference import Reference
    from runjail.image.registry.registries_conf import Registries

    Result = TypeVar("Result")
    Conf = Callable[[], Registries]  # what registries.conf says


def candidates(word: str, conf: Conf) -> list[Reference]:
    """Return what a word may mean, in the order in which it is looked for; conf is only asked about short names.

    Raises UsageError for what names no image, and for a short name where none are allowed.
    """
    reference = references.parse(word)
    short = references.short_name(word) if reference.kind == "registry" else ""
    if not short:
        return [reference]
    said = conf()
    if short in said.aliases:
        names = [said.aliases[short]]
    elif said.search is None or references.is_digits(word):
        return [reference]
    elif said.search:
        names = [f"{host}/{short}" for host in said.search]
    else:
        why = f"{said.path} has no alias for it and no unqualified-search-registries"
        raise UsageError(f"{word[:200]!r} is a short name: {why}", f"docker.io's is {reference.name}")
    ending = word.removeprefix(short)
    return [references.parse(f"{name}{ending}").replace(word=word) for name in names]


def choose(word: str, conf: Conf, is_store: Callable[[], bool], find: Callable[[Reference], object]) -> Reference:
    """Return what a word means: of several names the first that the store has, or else the first.

    is_store: whether there is one. find: looks there, and raises ImageNotFound.
    """
    found = candidates(word, conf)
    for each in found if len(found) > 1 and is_store() else ():
        try:
            find(each)
        except ImageNotFound:
            continue
        return each
    return found[0]


def local_name(reference: Reference) -> str:
    """Return the canonical form of a name to give: no place, no digest."""
    if reference.kind != "registry" or reference.digest or reference.remote:
        hint = "image push sends it there" if reference.remote else "a name is [HOST/]REPOSITORY[:TAG]"
        raise UsageError(f"not a name for an image: {reference.word[:200]!r}", hint)
    return reference.name


def first(reference: Reference, conf: Conf, get: Callable[[Reference], Result]) -> tuple[Reference, Result]:
    """Return what `get` gets from the first registry that has it, and its name. reference: what `choose` returned.

    Raises what the last of them raises, UsageError where registries.conf does not let us try several.
    """
    *others, last = _places(reference, conf)
    for each in others:
        try:
            return each, get(each)
        except (ImageNotFound, RegistryError):
            continue
    return last, get(last)


def _places(reference: Reference, conf: Conf) -> Sequence[Reference]:
    found = candidates(reference.word, conf)
    if reference != found[0]:  # it was in the store under one of the further names
        return [reference]
    if len(found) > 1 and conf().mode == "enforcing":
        hint = f"it may be {' or '.join(each.name for each in found[:5])}"
        path = conf().path
        raise UsageError(f"{reference.word[:200]!r} is a short name: short-name-mode is enforcing in {path}", hint)
    return found


def platform_of(text: str) -> Platform:
    """Return what --platform says. Raises UsageError."""
    with named("--platform", text):
        return platform.parse(text)
