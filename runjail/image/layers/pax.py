"""Fields of tar headers: numbers, and the pax records that we use.

The records are POSIX.1's, star's, GNU's and libarchive's.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from runjail.errors import Corrupt

Records = list[tuple[bytes, bytes]]

HIGHEST = (1 << 63) - 1  # of sizes and times: what off_t and 64-bit nanoseconds hold
HIGHEST_ID = (1 << 32) - 2  # one more would be -1, which tells chown(2) to leave the owner alone
SECOND = 10**9
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_NONE: Mapping[bytes, bytes] = {}


def number(field: bytes, what: str) -> int:
    """Read a numeric header field: octal digits, or GNU's and star's base 256 when the highest bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F if field[0] < 0xC0 else field[0]]) + field[1:], signed=True)
    text = field.strip(b" \0")
    if not text.isdigit():
        text = text.partition(b"\0")[0].rstrip(b" ")
    try:
        return int(text, 8) if text.isdigit() else _empty(text)
    except ValueError:
        raise Corrupt(f"tar header: {what} is not a number: {text[:20]!r}") from None


def _empty(text: bytes) -> int:
    if text:
        raise ValueError
    return 0


def within(value: int, highest: int, what: str) -> int:
    """Return a number that has to be from 0 to highest. Raises Corrupt."""
    if not 0 <= value <= highest:
        raise Corrupt(f"tar header: {what} is out of range: {value}")
    return value


def decimal(text: bytes, what: str, highest: int = HIGHEST) -> int:
    """Read a decimal number from 0 to highest. Raises Corrupt."""
    if not text.isdigit() or len(text) > 20:
        raise Corrupt(f"pax header: {what} is not a number: {text[:20]!r}")
    return within(int(text), highest, what)


def timestamp(text: bytes) -> int:
    """Read seconds with a fraction, e.g. b"-1.5", as nanoseconds."""
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 20 or not (fraction.isdigit() or not fraction):
        raise Corrupt(f"pax header: mtime is not a time: {text[:40]!r}")
    nanoseconds = int(whole) * SECOND + int((fraction + b"0" * 9)[:9])
    return -nanoseconds if text.startswith(b"-") else nanoseconds


def bounded(nanoseconds: int) -> int:
    """Return a time that 64-bit nanoseconds hold; others become 0, as in containerd."""
    return nanoseconds if -HIGHEST <= nanoseconds <= HIGHEST else 0


@dataclass(frozen=True)
class Extensions:
    """What the headers before an entry say about it; None where they say nothing."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime: int | None = None  # nanoseconds
    flags: bytes = b""  # BSD's file flags by name, e.g. b"schg,nodump"
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    sparse: Records = field(default_factory=list)  # the GNU.sparse.* records, in their order: version 0.0 repeats keys


NOTHING = Extensions()


def parse(data: bytes) -> Extensions:
    """Read the body of a local pax header. An empty value is as good as no record (POSIX.1). Raises Corrupt."""
    pairs = _records(data)
    found = {key: value for key, value in pairs if value}
    size, uid, gid, mtime = (found.get(key) for key in (b"size", b"uid", b"gid", b"mtime"))
    return Extensions(
        name=found.get(b"path"),
        link=found.get(b"linkpath"),
        size=None if size is None else decimal(size, "size"),
        uid=None if uid is None else decimal(uid, "uid", HIGHEST_ID),
        gid=None if gid is None else decimal(gid, "gid", HIGHEST_ID),
        mtime=None if mtime is None else bounded(timestamp(mtime)),
        flags=found.get(b"SCHILY.fflags", b""),
        xattrs=_xattrs(pairs),
        sparse=[pair for pair in pairs if pair[0].startswith(b"GNU.sparse.")],
    )


def _records(data: bytes) -> Records:
    """Split the records `LENGTH KEY=VALUE` and a newline; LENGTH counts all of it. Values may contain newlines."""
    found = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = data[at:space]
        end = at + (int(length) if space > 0 and length.isdigit() else 0)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not key or not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise Corrupt(f"pax header: damaged record: {data[at : at + 40]!r}")
        if b"\0" in key or (b"\0" in value and key in (b"path", b"linkpath", b"GNU.sparse.name")):
            raise Corrupt(f"pax header: a NUL in {key[:40]!r}")
        found.append((key, value))
        at = end
    return found


def _xattrs(pairs: Records) -> Mapping[bytes, bytes]:
    """Return extended attributes by name. libarchive writes each twice; star's way keeps the bytes as they are."""
    raw = {key.removeprefix(_SCHILY): value for key, value in pairs if key.startswith(_SCHILY)}
    coded = [(key.removeprefix(_LIBARCHIVE), value) for key, value in pairs if key.startswith(_LIBARCHIVE)]
    if not coded:
        return raw or _NONE
    return {_unquoted(key): _base64(value) for key, value in coded} | raw


def _unquoted(key: bytes) -> bytes:
    name = unquote_to_bytes(key)
    if b"\0" in name:
        raise Corrupt(f"pax header: a NUL in {name[:40]!r}")
    return name


def _base64(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except ValueError:
        raise Corrupt(f"pax header: an extended attribute is not base64: {value[:20]!r}") from None
