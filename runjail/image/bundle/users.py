"""Who an image's `User` is, by the image's own /etc/passwd and /etc/group.

The host's users mean nothing there. Files are found and read below the root's descriptor. They are the image's: what is
no entry is passed over, and no more is read than a system's files would have. Rules: image-spec config.md (User) and
conversion.md.
"""

from __future__ import annotations

import os
import stat

from runjail import rootfs
from runjail.errors import ImageError, reason
from runjail.image.file_range import READING, FileRange
from runjail.record import Record
from runjail.sizes import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 20  # bytes of a file of users or groups
HIGHEST = (1 << 32) - 2  # an id; one more would be -1, "no change"


class Identity(Record):
    """Numbers for process.user. home: "" when the image does not say."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


class _User(Record):
    name: str
    uid: int
    gid: int
    home: str


def resolve(root: int, text: str) -> Identity:
    """Return who `USER[:GROUP]`, names or numbers, is below an open root; "" is user 0.

    Without a group it is the user's own, or 0 for a number that is no user's. Who is in /etc/passwd also gets the
    groups of which he is a member, as with other engines: by name, by number, and user 0 when the image names nobody.
    Raises ImageError for a name that the image does not know.
    """
    name, colon, group = text.partition(":")
    if "\0" in text or (colon and not group) or (text and not name):
        raise ImageError(f"not a user: {text[:100]!r}")
    number = _id(name or "0")
    users = (user for user in _users(root) if (user.name == name if number is None else user.uid == number))
    user = next(users, None)
    if user is None and number is None:
        raise ImageError(f"the image has no user {name[:100]!r} in its /etc/passwd")
    uid = user.uid if user else number or 0
    home = user.home if user else ""
    if group:
        return Identity(uid, _group(root, group), (), home)
    gid = user.gid if user else 0
    if user is None:
        return Identity(uid, gid, (), home)
    groups = dict.fromkeys(other for _, other, members in _groups(root) if user.name in members and other != gid)
    return Identity(uid, gid, tuple(groups), home)


def _group(root: int, text: str) -> int:
    number = _id(text)
    if number is not None:
        return number
    for name, gid, _members in _groups(root):
        if name == text:
            return gid
    raise ImageError(f"the image has no group {text[:100]!r} in its /etc/group")


def _id(text: str) -> int | None:
    """Return a number that is an id, None for a name. Raises ImageError for a number that is too large."""
    if not (text.isascii() and text.isdecimal()):
        return None
    number = _number(text)
    if number is None:
        raise ImageError(f"not a user or group: {text[:40]} is too large")
    return number


def _users(root: int) -> Iterator[_User]:
    for fields in _entries(root, "etc/passwd", 7):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            yield _User(fields[0], uid, gid, fields[5] if fields[5].startswith("/") else "")


def _groups(root: int) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _entries(root, "etc/group", 4):
        gid = _number(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].split(",")


def _number(text: str) -> int | None:
    return read_number(text, HIGHEST)


def _entries(root: int, path: str, count: int) -> Iterator[list[str]]:
    """Yield the fields of each line that has as many as it should. Comments, NIS and nonsense are passed over."""
    for line in _read(root, path).decode("utf-8", "surrogateescape").split("\n"):
        fields = line.rstrip("\r").split(":")
        if len(fields) == count and fields[0] and fields[0][0] not in "#+-" and "\0" not in line:
            yield fields


def _read(root: int, path: str) -> bytes:
    """Return a file's content, b"" when there is none. Raises ImageError for what is no file, or too long."""
    try:
        place = rootfs.resolve(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise ImageError(f"cannot read the image's /{path}: {reason(error)}") from error
    try:
        if not place.mode():
            return b""
        file = os.open(place.name, READING, dir_fd=place.parent)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise ImageError(f"the image's /{path} is not a regular file")
        content = FileRange(file, 0, LARGEST + 1).all(LARGEST + 1)
    except OSError as error:
        raise ImageError(f"cannot read the image's /{path}: {reason(error)}") from error
    finally:
        place.close()
    if len(content) > LARGEST:
        raise ImageError(f"the image's /{path} is longer than {LARGEST >> 20} MiB")
    return content
