"""Reading tar archives as a stream: ustar, pax, GNU and V7 headers.

An entry comes with its long names, sparse map and attributes. Names are bytes. What a header says is checked for being
possible, not for being harmless: `apply` confines it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from zlib import adler32

from runjail.errors import Corrupt
from runjail.image.layers import pax, sparse

BLOCK = 512
REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = {b"\0": REGULAR, b"7": REGULAR, b"S": REGULAR} | {
    kind: kind for kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
}
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL = b"L", b"K", (b"x", b"X"), b"g"
_ZEROS = bytes(BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2x64x8s8s155s12x")
# Modes, owners and times of one layer are mostly the same few; sizes and sums are not
_remembered = lru_cache(256)(pax.number)
MOST_EXTENSIONS = 16  # headers that may precede one entry


class Entry:
    """One member of an archive. size: bytes of the file; mtime: nanoseconds; link: the target of links.

    major and minor are a device's numbers. flags: BSD file flags by name. sparse: a map, None for ordinary files.
    """

    __slots__ = (
        "flags",
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "size",
        "sparse",
        "uid",
        "xattrs",
    )

    def __init__(
        self, name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes
    ) -> None:
        self.name, self.kind, self.mode, self.uid, self.gid = name, kind, mode, uid, gid
        self.size, self.mtime, self.link = size, mtime, link
        self.major = self.minor = 0
        self.flags = b""
        self.xattrs: Mapping[bytes, bytes] = {}
        self.sparse: sparse.Map | None = None


class _Stream:
    """Chunks, read in pieces of other lengths."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data, self._view, self._at = b"", memoryview(b""), 0

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._data, self._view, self._at = chunk, memoryview(chunk), 0
                return True
        return False

    def take(self, length: int) -> bytes:
        """Return this many bytes, fewer only at the end."""
        end = self._at + length
        if end <= len(self._data):
            found = self._data[self._at : end]
            self._at = end
            return found
        return b"".join(self._some(length))

    def exactly(self, length: int) -> bytes:
        """Return this many bytes. Raises Corrupt when the archive ends before."""
        found = self.take(length)
        if len(found) < length:
            raise Corrupt("the archive ends too early")
        return found

    def _some(self, length: int) -> Iterator[memoryview]:
        while length:
            if self._at == len(self._data) and not self._more():
                return
            piece = self._view[self._at : self._at + length]
            self._at += len(piece)
            length -= len(piece)
            yield piece

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Yield this many bytes without copying them. Raises Corrupt when the archive ends before."""
        end = self._at + length
        if length and end <= len(self._data):  # most files are in one chunk
            piece, self._at = self._view[self._at : end], end
            yield piece
            return
        for piece in self._some(length):
            length -= len(piece)
            yield piece
        if length:
            raise Corrupt("the archive ends too early")

    def drain(self) -> None:
        """Read to the very end: a diffID covers what follows an archive too."""
        while self._more():
            pass
        self._at = len(self._data)


class Reader:
    """Iterates over the entries of an archive; `body` is the content of the present one, passed over when not read.

    longest: bytes of one pax header or long name. Raises Corrupt for what is no archive, or a damaged one.
    """

    def __init__(self, chunks: Iterable[bytes], longest: int = 1 << 20) -> None:
        self._stream, self._longest = _Stream(chunks), longest
        self._entry: Entry | None = None
        self._stored = self._padding = 0  # of the present body: bytes not read yet, and what fills its last block

    def __iter__(self) -> Iterator[Entry]:
        while entry := self.next():
            yield entry
        self._stream.drain()

    def next(self) -> Entry | None:
        """Return the next entry, None at the archive's end, beyond which nothing is read."""
        self._entry = self._next()
        return self._entry

    def body(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the content of the present entry in pieces, each with its offset in the file; holes are left out."""
        entry, stored = self._entry, self._stored
        assert entry is not None
        self._stored = 0  # taken: in parts only by a caller who gives up altogether
        for offset, length in entry.sparse if entry.sparse is not None else ((0, stored),):
            at = offset
            for piece in self._stream.pieces(length):
                yield at, piece
                at += len(piece)

    def _next(self) -> Entry | None:
        extensions, name, link = pax.NOTHING, b"", b""
        for count in range(MOST_EXTENSIONS):
            header = self._header()
            if header is None:
                if count:
                    raise Corrupt("the archive ends after a header that describes the next entry")
                return None
            kind = header[156:157]
            if kind in _PAX:
                extensions = pax.parse(self._meta(header))
            elif kind == _LONG_NAME:
                name = self._meta(header).partition(b"\0")[0]
            elif kind == _LONG_LINK:
                link = self._meta(header).partition(b"\0")[0]
            elif kind == _GLOBAL:  # says nothing that a layer could mean: image-spec knows local headers only
                self._meta(header)
            else:
                return self._member(header, extensions, name, link)
        raise Corrupt(f"more than {MOST_EXTENSIONS} extension headers before one entry")

    def _header(self) -> bytes | None:
        """Return the next header, None at the archive's end."""
        if self._stored:
            for _ in self._stream.pieces(self._stored):
                pass
        if self._padding:
            self._stream.take(self._padding)  # `umoci insert` leaves the last one out, and Go's readers do not mind
        self._stored = self._padding = 0
        block = self._stream.take(BLOCK)
        if block == _ZEROS:
            block = self._stream.take(BLOCK)
            if block not in (_ZEROS, b""):
                raise Corrupt("something follows half an end-of-archive mark")
            return None
        if block and len(block) < BLOCK:
            raise Corrupt("the archive ends too early")
        return block or None

    def _meta(self, header: bytes) -> bytes:
        _check_sum(header)
        size = pax.within(pax.number(header[124:136], "size"), pax.HIGHEST, "size")
        if size > self._longest:
            raise Corrupt(f"an extension header of {size} bytes is longer than {self._longest}")
        self._padding = -size % BLOCK
        return self._stream.exactly(size)

    def _member(self, header: bytes, extra: pax.Extensions, long_name: bytes, long_link: bytes) -> Entry:
        _check_sum(header)
        name, mode, uid, gid, size, mtime, _, kind, link, magic, major, minor, prefix = _FIELDS.unpack(header)
        if long_name or extra.name:
            name = long_name or extra.name
        else:
            name = name.rstrip(b"\0") if name.find(b"\0") < 0 else name[: name.find(b"\0")]
            if magic == b"ustar\0" and prefix[0]:
                name = prefix.partition(b"\0")[0] + b"/" + name
        link = long_link or extra.link or link.partition(b"\0")[0]
        entry = Entry(name, _kind(kind, name), _remembered(mode, "mode") & 0o7777, 0, 0, 0, 0, link)
        entry.uid = extra.uid if extra.uid is not None else pax.within(_remembered(uid, "uid"), pax.HIGHEST_ID, "uid")
        entry.gid = extra.gid if extra.gid is not None else pax.within(_remembered(gid, "gid"), pax.HIGHEST_ID, "gid")
        seconds = _remembered(mtime, "mtime") if extra.mtime is None else 0
        entry.mtime = pax.bounded(seconds * pax.SECOND) if extra.mtime is None else extra.mtime
        entry.flags, entry.xattrs = extra.flags, extra.xattrs
        if entry.kind == REGULAR:
            stored = extra.size if extra.size is not None else pax.number(size, "size")
            self._open(entry, header, pax.within(stored, pax.HIGHEST, "size"), extra)
        elif entry.kind in (CHARACTER, BLOCK_DEVICE):
            entry.major = pax.within(pax.number(major, "device"), 0xFFFFFFFF, "device")
            entry.minor = pax.within(pax.number(minor, "device"), 0xFFFFFFFF, "device")
        return entry  # others have no body, whatever their size says

    def _open(self, entry: Entry, header: bytes, stored: int, extra: pax.Extensions) -> None:
        """Note where a file's content is, and where its holes are."""
        self._stored, self._padding, entry.size = stored, -stored % BLOCK, stored
        if header[156:157] == b"S":
            entry.sparse, entry.size = sparse.old_gnu(header, self._stream.exactly)
        elif extra.sparse:
            entry.name = dict(extra.sparse).get(b"GNU.sparse.name", entry.name)
            entry.sparse, entry.size, taken = sparse.pax(extra.sparse, self._stream.exactly)
            self._stored -= taken
        if entry.sparse is not None:
            sparse.check(entry.sparse, entry.size, self._stored)


def _kind(kind: bytes, name: bytes) -> bytes:
    if kind == b"\0" and name.endswith(b"/"):  # directories of V7's tar
        return DIRECTORY
    try:
        return _KINDS[kind]
    except KeyError:
        raise Corrupt(f"an entry of a type that layers cannot have: {kind!r}") from None


def _check_sum(header: bytes) -> None:
    """Raise Corrupt unless the header's sum is right: its own field counts as spaces.

    The low half of Adler-32 is one more than the sum of all bytes modulo 65521, and comes from C.
    """
    stated = pax.number(header[148:156], "checksum")
    if adler32(header) & 0xFFFF == (stated + 1 - 8 * 32 + sum(header[148:156])) % 65521:
        return
    others = header[:148] + b" " * 8 + header[156:]
    if stated != sum(byte - 256 if byte > 127 else byte for byte in others):  # some old tars had signed characters
        raise Corrupt("not a tar archive, or a damaged one: wrong header checksum")
