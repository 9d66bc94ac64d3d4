"""What a copy of a tree has to keep."""

import os
import stat
from pathlib import Path

from runjail import attributes


def facts(top: Path) -> dict[str, object]:
    """Return what a copy has to keep of every entry; hard links show as the first name of their file."""
    found: dict[str, object] = {}
    first: dict[int, str] = {}
    for directory, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = os.path.join(directory, name)
            kept = os.lstat(path)
            kind = stat.S_IFMT(kept.st_mode)
            key = os.path.relpath(path, top)
            same = first.setdefault(kept.st_ino, key) if kind != stat.S_IFDIR else key
            found[key] = (
                kept.st_mode, kept.st_uid, kept.st_gid, kept.st_mtime_ns, kept.st_rdev, same,
                os.readlink(path) if kind == stat.S_IFLNK else "",
                Path(path).read_bytes() if kind == stat.S_IFREG else b"",
                xattrs(path) if kind in (stat.S_IFREG, stat.S_IFDIR) else {},
            )  # fmt: skip
    return found


def xattrs(path: str) -> dict[bytes, bytes]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return {name: attributes.SYSTEM.get(descriptor, name) for name in attributes.SYSTEM.names(descriptor)}
    except OSError as error:
        assert error.errno in attributes.UNSUPPORTED
        return {}
    finally:
        os.close(descriptor)
