"""Archives byte by byte, good and bad, and trees as data."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from runjail.image.layers import layer

MTIME = 1_600_000_000
NULLS = bytes(1024)
LINK_ROOM = 100  # bytes of a header's field for a target


def header(name: bytes, kind: bytes = b"0", size: int | bytes = 0, **fields: int | bytes) -> bytes:
    """Return a ustar header with a right checksum. Numbers are written in octal, bytes as they are."""
    values = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": MTIME, "link": b"", "magic": b"ustar\x0000"} | fields
    values |= {"major": 0, "minor": 0, "prefix": b""} | fields
    block = bytearray(512)
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "mtime": (136, 12), "link": (157, 100)}
    places |= {"magic": (257, 8), "major": (329, 8), "minor": (337, 8), "prefix": (345, 155), "raw": (0, 512)}
    block[: len(name[:100])] = name[:100]
    block[156:157] = kind
    for field, value in [*values.items(), ("size", size)]:
        at, width = places.get(field, (124, 12))
        text = value if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)
        block[at : at + len(text)] = text
    return checked(block)


def checked(block: bytearray) -> bytes:
    """Write a header's checksum."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    """Fill up to a whole block."""
    return content + bytes(-len(content) % 512)


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", **fields: int | bytes) -> bytes:
    """Return a file, or another kind of entry with a body."""
    return header(name, kind, len(content), **fields) + padded(content)


def directory(name: bytes, **fields: int | bytes) -> bytes:
    """Return a directory, mode 0755."""
    return header(name, b"5", **{"mode": 0o755} | fields)


def symlink(name: bytes, target: bytes) -> bytes:
    """Return a symbolic link."""
    return _long_link(target) + header(name, b"2", link=target[:LINK_ROOM], mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    """Return a hard link."""
    return _long_link(target) + header(name, b"1", link=target[:LINK_ROOM])


def _long_link(target: bytes) -> bytes:
    """Return what comes before a link whose target does not fit its field, such as a path below a long TMPDIR."""
    return long_name(target, b"K") if len(target) > LINK_ROOM else b""


def record(key: bytes, value: bytes) -> bytes:
    """Return one pax record."""
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %s=%s\n" % (total, key, value)


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return a pax header."""
    return member(b"pax", b"".join(record(key, value) for key, value in pairs), kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """Return GNU's header for a long name, or with K a long link."""
    return member(b"././@LongLink", name + b"\0", kind)


def archive(*parts: bytes) -> bytes:
    """Return a whole archive."""
    return b"".join(parts) + NULLS


def digest(content: bytes) -> str:
    """Return the sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def unpack(
    root: Path,
    content: bytes,
    diff_id: str | None = None,
    limits: layer.Limits | None = None,
    policy: layer.Policy | None = None,
) -> layer.Unpacked:
    """Unpack a blob that is an archive, unless diff_id says what it holds."""
    blob = root.parent / f"{root.name}.blob"
    blob.write_bytes(content)
    file = os.open(blob, os.O_RDONLY)
    try:
        given = {"limits": limits or layer.Limits(), "policy": policy or layer.Policy()}
        return layer.unpack(file, str(root), diff_id or digest(content), **given)  # type: ignore[arg-type]
    finally:
        os.close(file)
        blob.unlink()


def seen(top: Path) -> dict[str, str]:
    """Return what is in a tree, in short: `dir`, `file CONTENT`, `-> TARGET`, `fifo`."""
    found = {}
    for path in sorted(top.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            what = f"-> {os.readlink(path)}"
        elif stat.S_ISDIR(mode):
            what = "dir"
        else:
            what = f"file {path.read_text('latin-1')[:50]}" if stat.S_ISREG(mode) else "fifo"
        found[str(path.relative_to(top))] = what
    return found


def _walk(top: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield paths, and names relative to the first, in order."""
    yield top, name
    if not os.path.islink(top) and os.path.isdir(top):
        for entry in sorted(os.listdir(top)):
            yield from _walk(f"{top}/{entry}", entry if name == "." else f"{name}/{entry}")


def exactly(top: Path, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Return a tree with everything that a layer says: kind and mode, owner, time, links, content, attributes."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path, name in _walk(str(top), "."):
        status = os.lstat(path)
        content: object = ""
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                content = (status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif not stat.S_ISDIR(status.st_mode):
            content = status.st_rdev
        shared = first.setdefault(status.st_ino, name) if not stat.S_ISDIR(status.st_mode) else name
        listed = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
        xattrs = tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(listed))
        links = status.st_nlink if not stat.S_ISDIR(status.st_mode) else 0
        mtime = status.st_mtime_ns if times else 0
        found[name] = (status.st_mode, status.st_uid, status.st_gid, mtime, links, shared, content, xattrs)
    return found
