"""Owners that a user namespace has no ids for: an attribute keeps them, as in umoci's roots.

`user.rootlesscontainers` is a protobuf message with two numbers, 1: user and 2: group (rootlesscontaine.rs).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from runjail import attributes

ATTRIBUTE = b"user.rootlesscontainers"
USER, GROUP = 0x08, 0x10  # tags: field 1 and 2, each a varint
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
    attributes.SYSTEM.set(file, ATTRIBUTE, _encode(uid, gid))


def shown(found: os.stat_result, xattrs: Mapping[bytes, bytes]) -> tuple[int, int, Mapping[bytes, bytes]]:
    """Return the user and group that a file has in an image, and its attributes there.

    Where there are several ids, files have those, and the attribute is one as any other: a container's program may have
    written it.
    """
    said = xattrs.get(ATTRIBUTE)
    if said is None or not alone():
        return found.st_uid, found.st_gid, xattrs
    return *_decode(said), {key: value for key, value in xattrs.items() if key != ATTRIBUTE}


def alone() -> bool:
    """Whether this process is in a user namespace with one id."""
    try:
        with open(UID_MAP, encoding="ascii") as table:
            return [line.split()[2] for line in table] == ["1"]
    except OSError:
        return False


def _encode(uid: int, gid: int) -> bytes:
    return b"".join(bytes([tag]) + _varint(id) for tag, id in ((USER, uid), (GROUP, gid)) if id)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(data) + bytes([number])


def _decode(data: bytes) -> tuple[int, int]:
    """Read the two numbers; what is none of them, a program in the container has written, means root."""
    found, at = {USER: 0, GROUP: 0}, 0
    while at < len(data) and data[at] in found:
        tag, number, shift = data[at], 0, 0
        at += 1
        while at < len(data):
            number |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 0x80:
                break
        found[tag] = number & 0xFFFFFFFF
    return found[USER], found[GROUP]
