"""Platforms: their normal names, this machine's, and which image of an index fits.

See image-spec, image-index.md. Names are Go's, normalised as containerd does. `os.version` counts for FreeBSD only,
where a userland newer than the kernel is not supported; the specification leaves its meaning to implementations.
"""

from __future__ import annotations

import os
import sys

from runjail.errors import ImageError, UsageError
from runjail.image import media_types, model
from runjail.image.model import Descriptor, Index, Platform
from runjail.sizes import read_number
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Read = Callable[[Descriptor], bytes]

# Other names of (architecture, variant): uname -m and -p of both systems, GNU triplets, Debian.
ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "powerpc64le": ("ppc64le", ""),
    "powerpc64": ("ppc64", ""),
    "riscv": ("riscv64", ""),
}
LEVELS = {"amd64": 1, "arm64": 8, "arm": 7}  # what the architecture alone stands for: its variants are numbered
DEEPEST = 4  # indexes in indexes


def parse(text: str) -> Platform:
    """Parse `os/arch[/variant]`. Raises UsageError."""
    words = text.split("/")
    if len(words) not in (2, 3) or not all(word.replace("-", "").replace("_", "").isalnum() for word in words):
        raise UsageError(f"not a platform such as freebsd/amd64: {text[:100]!r}")
    return normalise(Platform(words[0], words[1], "".join(words[2:])))


def describe(platform: Platform) -> str:
    """Return the text that `parse` reads: `linux/arm/v7`."""
    return "/".join(word for word in (platform.os, platform.architecture, platform.variant) if word) or "no platform"


def normalise(platform: Platform) -> Platform:
    """Return a platform by its usual names. A variant that the architecture implies is left out, except arm's."""
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    architecture, implied = ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant.isdecimal():
        variant = f"v{variant}"
    if architecture == "arm":
        variant = variant or "v7"
    elif variant.removesuffix(".0") == f"v{LEVELS.get(architecture)}":
        variant = ""
    return platform.replace(os=platform.os.lower(), architecture=architecture, variant=variant)


def host(system: os.uname_result | None = None) -> Platform:
    """Return the platform of this machine; its os.version is the kernel's release."""
    name = system or os.uname()
    architecture = name.machine
    if architecture in ("powerpc", "arm"):  # uname -m on FreeBSD says less than uname -p there
        architecture = {"arm": "armv7", "powerpc": f"powerpc64{'le' if sys.byteorder == 'little' else ''}"}[
            architecture
        ]
    return normalise(Platform(name.sysname, architecture, os_version=name.release))


def accepted(host_platform: Platform) -> list[Platform]:
    """Return what a host runs, best first: FreeBSD runs Linux images as well."""
    target = TARGETS.get(host_platform.os)
    others = target.runs if target else ()
    return [host_platform, *(host_platform.replace(os=system, os_version="") for system in others)]


def fits(offered: Platform, wanted: Platform) -> bool:
    """Whether an image for one platform runs on another; one that does not say its own is for any, as with podman."""
    offered, wanted = normalise(offered), normalise(wanted)
    offered = offered.replace(os=offered.os or wanted.os, architecture=offered.architecture or wanted.architecture)
    return (
        (offered.os, offered.architecture) == (wanted.os, wanted.architecture)
        and _variant_fits(offered, wanted)
        and set(offered.os_features) <= set(wanted.os_features)
        and not (_is_bound(offered) and newer(offered.os_version, wanted.os_version))
    )


def _is_bound(platform: Platform) -> bool:
    return platform.os in TARGETS and TARGETS[platform.os].bound_to_release


def _variant_fits(offered: Platform, wanted: Platform) -> bool:
    if offered.variant == wanted.variant:
        return True
    return -1 < _level(offered) <= _level(wanted)


def _level(platform: Platform) -> int:
    """Return how much an image asks of a processor, -1 when that is no number: amd64/v3 is 3."""
    digits = platform.variant.removeprefix("v").removesuffix(".0")
    if not platform.variant:
        return LEVELS.get(platform.architecture, 0)
    level = read_number(digits, 999)
    return -1 if level is None else level


def newer(offered: str, kernel: str) -> bool:
    """Whether a FreeBSD release such as `15.0` or `14.2-RELEASE-p1` is newer than another; False for other texts."""
    first, second = _release(offered), _release(kernel)
    return bool(first and second and first > second)


def _release(text: str) -> tuple[int, int] | None:
    major, _, rest = text.partition("-")[0].partition(".")
    minor = rest.partition(".")[0] or "0"
    first, second = read_number(major, 99999), read_number(minor, 99999)
    return None if first is None or second is None else (first, second)


def select(index: Index, wanted: Sequence[Platform], read: Read) -> Descriptor:
    """Return the manifest of an index for the first wanted platform that it has.

    Of several the one that asks most of the processor wins, then the first. Nested indexes are looked through; of
    entries that do not say their platform, the image config does. read: returns a document, verified.
    Raises ImageError that lists what there is.
    """
    offers = list(_offers(index, read, set(), DEEPEST))
    for platform in wanted:
        fitting = [(entry, offered) for entry, offered in offers if fits(offered, platform)]
        if fitting:
            return max(fitting, key=lambda offer: _level(normalise(offer[1])))[0]
    asked = " or ".join(describe(platform) for platform in wanted)
    there = ", ".join(dict.fromkeys(describe(offered) for _entry, offered in offers)) or "none"
    raise ImageError(f"there is no image for {asked} in the index; there are: {there}")


def choose(read: Read, top: Descriptor, wanted: Sequence[Platform]) -> Descriptor:
    """Return the manifest that a name stands for: `select`ed from an index; a manifest is what it is."""
    document = model.parse_manifest(read(top), top.media_type, f"manifest {top.digest}")
    return select(document, wanted, read) if isinstance(document, Index) else top


def _offers(index: Index, read: Read, seen: set[str], depth: int) -> Iterator[tuple[Descriptor, Platform]]:
    for entry in index.manifests:
        if entry.digest in seen or not may_be_image(entry):
            continue
        seen.add(entry.digest)
        if entry.media_type in media_types.INDEXES and depth:
            nested = model.parse_manifest(read(entry), entry.media_type, f"index {entry.digest}")
            if isinstance(nested, Index):
                yield from _offers(nested, read, seen, depth - 1)
        elif entry.media_type in media_types.MANIFESTS:
            offered = entry.platform if entry.platform and entry.platform.os else of_manifest(entry, read)
            if offered:
                yield entry, offered


def may_be_image(entry: Descriptor) -> bool:
    """Whether an index's entry is an image or an index of such: no SBOM or signature beside them."""
    attests = entry.platform and "unknown" in (entry.platform.os, entry.platform.architecture)
    return not attests and entry.media_type in media_types.INDEXES + media_types.MANIFESTS


def of_manifest(entry: Descriptor, read: Read) -> Platform | None:
    """Return the platform that a manifest's image config names; None for what is no image."""
    manifest = model.parse_manifest(read(entry), entry.media_type, f"manifest {entry.digest}")
    if isinstance(manifest, Index) or manifest.config.media_type not in media_types.CONFIGS:
        return None
    document = model.parse_document(read(manifest.config), "image config")
    return model.parse_platform(document, "image config")
