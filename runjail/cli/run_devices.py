"""--device of `run --image`: device files of the host, or of a directory, in the container."""

from __future__ import annotations

import os
import stat

from runjail.errors import UsageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Document = dict[str, Any]

ACCESS = "rwm"
DEVICES = "/dev/"


def devices(texts: list[str], host: str) -> Document:
    """Return what HOST[:CONTAINER][:rwm] each put into config.json, by section. Raises UsageError."""
    if not texts:
        return {}
    return _nodes(texts) if host == "linux" else _shown(texts)


def split(text: str) -> tuple[str, str, str]:
    """Return the path on the host, that in the container, and how the device may be used. Raises UsageError."""
    source, *more = text.split(":")
    access = more.pop() if more and more[-1] and not more[-1].strip(ACCESS) else ACCESS
    place = more.pop(0) if more else source
    if more or not source.startswith("/") or not place.startswith("/"):
        raise UsageError(f"--device: not HOST[:CONTAINER][:rwm]: {text[:200]!r}", "for example /dev/fuse")
    return source, place, access


def _nodes(texts: list[str]) -> Document:
    """Return device files and who may use them; Linux makes them anew in the container."""
    nodes, rules = [], []
    for text in texts:
        source, place, access = split(text)
        for path, found in _files(source):
            kind = "b" if stat.S_ISBLK(found.st_mode) else "c"
            number = {"type": kind, "major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}
            owner = {"fileMode": stat.S_IMODE(found.st_mode), "uid": found.st_uid, "gid": found.st_gid}
            nodes.append({"path": f"{place}{path.removeprefix(source)}", **number, **owner})
            rules.append({"allow": True, **number, "access": access})
    return {"linux": {"devices": nodes, "resources": {"devices": rules}}}


def _files(source: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path of a device file, or of each in a directory, with what stat(2) says of it."""
    try:
        found = os.stat(source)
        names = sorted(os.listdir(source)) if stat.S_ISDIR(found.st_mode) else []
    except OSError as error:
        raise UsageError(f"--device: {source}: {reason(error)}") from None
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        yield source, found
    elif not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"--device: {source} is not a device")
    for name in names:
        path = f"{source.rstrip('/')}/{name}"
        if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR):
            yield from _files(path)


def _shown(texts: list[str]) -> Document:
    """Return which nodes of devfs are shown: under their own names, to be used as their modes say."""
    shown = []
    for text in texts:
        source, place, access = split(text)
        if place != source or access != ACCESS:
            raise UsageError(f"--device: FreeBSD shows a device under its own name, to read and write: {text[:200]!r}")
        if not source.startswith(DEVICES) or ".." in source.split("/"):
            raise UsageError(f"--device: not below /dev: {text[:200]!r}")
        if not os.path.exists(source):
            raise UsageError(f"--device: {source}: does not exist")
        shown.append({"path": source.removeprefix(DEVICES).strip("/")})
    return {"freebsd": {"devices": shown}}
