"""Owners that a user namespace has no ids for: an attribute keeps them, as in umoci's roots.

`user.rootlesscontainers` is a protobuf message with two numbers, 1: user and 2: group (rootlesscontaine.rs).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from runjail import attributes, protobuf

ATTRIBUTE = b"user.rootlesscontainers"
MESSAGE: protobuf.Table = {1: ("user", "u"), 2: ("group", "u")}
LARGEST = 0xFFFFFFFF  # of ids
UID_MAP = "/proc/self/uid_map"


def give(file: int | bytes, uid: int, gid: int, directory: int | None = None) -> bool:
    """Change the owner of an open file or, in a directory, of a name. False where there is no such id here.

    Raises OSError.
    """
    try:
        if isinstance(file, int):
            os.fchown(file, uid, gid)
        else:
            os.chown(file, uid, gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def keep(file: int, uid: int, gid: int) -> None:
    """Write down whose an open file is in the image. Raises OSError."""
    attributes.SYSTEM.set(file, ATTRIBUTE, protobuf.encode(MESSAGE, {"user": uid, "group": gid}))


def shown(found: os.stat_result, xattrs: Mapping[bytes, bytes]) -> tuple[int, int, Mapping[bytes, bytes]]:
    """Return the user and group that a file has in an image, and its attributes there.

    Where there are several ids, files have those, and the attribute is one as any other: a container's program may have
    written it.
    """
    kept = xattrs.get(ATTRIBUTE)
    if kept is None or not alone():
        return found.st_uid, found.st_gid, xattrs
    return *_decode(kept), {key: value for key, value in xattrs.items() if key != ATTRIBUTE}


def is_believed(name: bytes) -> bool:
    """Whether an attribute says here whose a file is: a layer's own says nothing, its entries have owners."""
    return name == ATTRIBUTE and alone()


def alone() -> bool:
    """Whether this process is in a user namespace with one id."""
    try:
        with open(UID_MAP, encoding="utf-8") as table:
            return [line.split()[2] for line in table] == ["1"]
    except OSError:
        return False


def _decode(data: bytes) -> tuple[int, int]:
    """Read the two numbers; what is none of them, a program in the container has written, means root."""
    try:
        found = protobuf.decode(MESSAGE, data)
    except ValueError:
        return 0, 0
    return found["user"] & LARGEST, found["group"] & LARGEST
