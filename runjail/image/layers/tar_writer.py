"""Writing tar archives: ustar headers, and pax records for what does not fit.

The records are POSIX.1's, and star's for extended attributes. Equal arguments give equal bytes. Users and groups are
numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)
REGULAR, LINK, SYMLINK, DIRECTORY, FIFO = b"0", b"1", b"2", b"5", b"6"
SECOND = 10**9
_NONE: Mapping[bytes, bytes] = {}


def header(
    name: bytes,
    kind: bytes = REGULAR,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    xattrs: Mapping[bytes, bytes] = _NONE,
) -> bytes:
    """Return all blocks that precede a member's content. mtime: nanoseconds; link: what LINK and SYMLINK lead to."""
    records = {b"SCHILY.xattr." + key: value for key, value in sorted(xattrs.items())}
    for key, text in ((b"path", name), (b"linkpath", link)):
        if len(text) > 100 or not text.isascii():
            records[key] = text
            if not _is_utf8(text):
                records = {b"hdrcharset": b"BINARY"} | records
    for key, number, digits in ((b"uid", uid, 7), (b"gid", gid, 7), (b"size", size, 11)):
        if number >= 8**digits:
            records[key] = b"%d" % number
    seconds, rest = divmod(mtime, SECOND)
    if rest or not 0 <= seconds < 8**11:
        records[b"mtime"] = _time(mtime)
    fields = (mode, uid, gid, size if kind == REGULAR else 0, seconds)
    body = b"".join(_record(key, value) for key, value in records.items())
    if not body:
        return _ustar(name, kind, *fields, link)
    extra = _ustar(b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80], b"x", 0o644, 0, 0, len(body), 0, b"")
    return extra + body + padding(len(body)) + _ustar(name, kind, *fields, link)


def padding(size: int) -> bytes:
    """Return what fills the last block after a content of this many bytes."""
    return bytes(-size % BLOCK)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _time(nanoseconds: int) -> bytes:
    sign, whole = (b"-" if nanoseconds < 0 else b""), divmod(abs(nanoseconds), SECOND)
    return (sign + b"%d.%09d" % whole).rstrip(b"0").rstrip(b".")


def _record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE` and a newline; LENGTH counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d" % length + rest


def _ustar(name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, seconds: int, link: bytes) -> bytes:
    """Return one header; what does not fit is cut off, a pax record says it in full."""
    before = name[:100].ljust(100, b"\0") + _octal(mode, 7) + _octal(uid, 7) + _octal(gid, 7)
    before += _octal(size, 11) + _octal(seconds, 11)
    after = kind + link[:100].ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + _octal(0, 7) + _octal(0, 7)
    total = sum(before) + 8 * 32 + sum(after)
    return (before + b"%06o\0 " % total + after).ljust(BLOCK, b"\0")


def _octal(number: int, digits: int) -> bytes:
    return b"%0*o\0" % (digits, number if 0 <= number < 8**digits else 0)
