"""Reading and writing gzip, zstd and (reading only) xz and bzip2, as streams of flat memory.

Content decides what a blob is, never its media type (image-spec allows docker's `tar` that is really a `tar.gzip`).
Reading covers what layers are made of besides one plain stream: estargz (a gzip member for each file), zstd:chunked
(many frames, and skippable ones with a table of contents: RFC 8878, 3.1.2) and zeros after the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol

from runjail.errors import Corrupt, RunjailError, UsageError

Decoders = tuple[Callable[[], "Decoder"], type[Exception]]  # and what they raise


class Decoder(Protocol):
    """One gzip member, zstd frame, xz or bzip2 stream: what bz2, lzma, igzip_lib and zstd of Python all look like."""

    @property
    def eof(self) -> bool:
        """Whether the end has been seen."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more to return without more data."""

    @property
    def unused_data(self) -> bytes:
        """What followed the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most max_length bytes."""


class Encoder(Protocol):
    """What zlib's and zstd's compressors share."""

    def compress(self, data: bytes, /) -> bytes:
        """Take data, return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


OUTPUT = 1 << 20  # the most bytes that are made in one step
LARGEST_WINDOW = 27  # log2 of the most memory that a zstd frame may ask for: 128 MiB, as zstd(1) without --memory
XZ_MEMORY = 96 << 20  # bytes; xz -9 needs 65 MiB
_ZSTD, _SKIPPABLE = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
GZIP_LEVELS, ZSTD_LEVELS = (1, 9), (1, 22)


def detect(head: bytes) -> str:
    """Return "gzip", "zstd", "xz" or "bzip2" by the first six bytes of content, "" for anything else."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50):
        return "zstd"
    if head.startswith(b"BZh") and head[4:6] == b"1A":  # a block follows: pi in BCD
        return "bzip2"
    return "xz" if head.startswith(b"\xfd7zXZ\0") else ""


def decompress(
    chunks: Iterable[bytes], *, limit: int | None = None, ratio: int = 0, allowance: int = 0
) -> Iterator[bytes]:
    """Yield what a blob holds, as it is when it is not compressed.

    limit: the most bytes that may come out. ratio: how many may come out for each that went in, beyond an allowance;
    0 for any number. Raises Corrupt for damage, for a stream that ends early, and beyond the limits.
    """
    head, rest = _head(chunks)
    kind = detect(head)
    counted = _Counter(head, rest)
    produced = 0
    for data in _decoded(kind, counted) if kind else counted:
        produced += len(data)
        if limit is not None and produced > limit:
            raise Corrupt(f"holds more than {limit} bytes")
        if ratio and produced > allowance + ratio * counted.taken:
            raise Corrupt(f"grows more than {ratio}-fold when it is decompressed")
        yield data


class _Counter:
    """Chunks, and how many bytes of them have been taken."""

    def __init__(self, head: bytes, rest: Iterator[bytes]) -> None:
        self._head, self._rest, self.taken = head, rest, 0

    def __iter__(self) -> Iterator[bytes]:
        if self._head:
            self.taken = len(self._head)
            yield self._head
        for chunk in self._rest:
            self.taken += len(chunk)
            yield chunk


def _head(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    rest, head = iter(chunks), b""
    for chunk in rest:
        head += chunk
        if len(head) >= 6:
            break
    return head, rest


def _decoded(kind: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    make, failures = _DECODERS[kind]()
    decoder: Decoder | None = None  # between two members or frames
    padded = False
    try:
        for chunk in chunks:
            data = chunk
            while data or (decoder and not decoder.needs_input):
                if decoder is None:
                    data, length = data.lstrip(b"\0"), len(data)
                    padded = padded or len(data) < length
                    if not data:
                        break
                    if padded:
                        raise Corrupt(f"something follows the end of the {kind} data")
                    decoder = make()
                made = decoder.decompress(data, OUTPUT)
                data = b""
                if decoder.eof:
                    data, decoder = decoder.unused_data, None
                if made:
                    yield made
    except failures as error:
        raise Corrupt(f"damaged {kind} data: {error}") from None
    if decoder:
        raise Corrupt(f"the {kind} data ends too early")


def _gzip_decoders() -> Decoders:
    try:
        from isal import igzip_lib
    except ImportError:
        return _ZlibDecoder, zlib.error
    error: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment, unused-ignore]  # its stub is wrong
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), error


class _ZlibDecoder:
    """zlib's gzip reader with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _zstd_decoders() -> Decoders:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW}
    return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError


def _xz_decoders() -> Decoders:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY), lzma.LZMAError


def _bzip2_decoders() -> Decoders:
    import bz2

    return bz2.BZ2Decompressor, OSError


_DECODERS = {"gzip": _gzip_decoders, "zstd": _zstd_decoders, "xz": _xz_decoders, "bzip2": _bzip2_decoders}


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return _libzstd()
    return zstd


def _libzstd() -> Any:
    """Return what stands in for a module, with the system's library. Raises RunjailError."""
    libzstd = import_module("runjail.image.layers.libzstd")  # with ctypes, which nothing else here needs
    if not libzstd.library():
        hint = "FreeBSD: the port devel/py-backports.zstd; elsewhere: pip install backports.zstd"
        raise RunjailError("zstd layers need the Python module backports.zstd, or the library libzstd", hint)
    return libzstd


class Compressor:
    """Compresses a stream: `update` as often as there is data, then `finish` once. Equal input, equal output."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def update(self, data: bytes) -> bytes:
        """Take data, return what is ready of the compressed stream."""
        return self._encoder.compress(data)

    def finish(self) -> bytes:
        """Return the rest of the compressed stream."""
        return self._encoder.flush()


def compressor(kind: str, level: int | None = None) -> Compressor:
    """Return a new compressor. kind: "gzip" (levels 1 to 9, 6 without) or "zstd" (1 to 22, 3 without).

    Raises UsageError for another kind or level.
    """
    if kind not in ("gzip", "zstd"):
        raise UsageError(f"compression must be gzip or zstd, not {kind}")
    lowest, highest = GZIP_LEVELS if kind == "gzip" else ZSTD_LEVELS
    if level is not None and not lowest <= level <= highest:
        raise UsageError(f"the level of {kind} is a number from {lowest} to {highest}, not {level}")
    return Compressor(_gzip_encoder(level or 6) if kind == "gzip" else _zstd_encoder(level or 3))


def _gzip_encoder(level: int) -> Encoder:
    return zlib.compressobj(level, zlib.DEFLATED, 31)  # 31: a gzip header, without name and time


def _zstd_encoder(level: int) -> Encoder:
    zstd = _zstd()
    parameter = zstd.CompressionParameter
    encoder: Encoder = zstd.ZstdCompressor(options={parameter.compression_level: level, parameter.checksum_flag: 1})
    return encoder
