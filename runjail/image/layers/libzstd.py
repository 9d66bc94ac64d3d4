"""zstd by the system's library, where Python has no module for it.

FreeBSD's base system has it as a private library. The classes are used as those of compression.zstd of Python 3.14, and
do what layers need: frames one by one, within a window, and one frame that is written. zstd(3), zstd.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import lru_cache
from typing import Any

from runjail.image import system_library

LIBRARIES = ("libzstd.so.1", "libprivatezstd.so.5")
OLDEST = 10400  # 1.4.0, with which the interface became stable
CONTINUE, END = 0, 2  # ZSTD_EndDirective
PIECE = 1 << 17  # bytes that are made in one step of compressing


class ZstdError(Exception):
    """Damaged data, or a frame that asks for too much memory."""


class DecompressionParameter:
    """Numbers of ZSTD_dParameter."""

    window_log_max = 100


class CompressionParameter:
    """Numbers of ZSTD_cParameter."""

    compression_level = 100
    checksum_flag = 201


class _Buffer(Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which are laid out alike."""

    _fields_ = [("start", c_void_p), ("size", c_size_t), ("at", c_size_t)]


FUNCTIONS: dict[str, tuple[Any, ...]] = {  # what each returns, then its arguments
    "ZSTD_versionNumber": (c_uint,),
    "ZSTD_versionString": (c_char_p,),
    "ZSTD_isError": (c_uint, c_size_t),
    "ZSTD_getErrorName": (c_char_p, c_size_t),
    "ZSTD_createDCtx": (c_void_p,),
    "ZSTD_freeDCtx": (c_size_t, c_void_p),
    "ZSTD_DCtx_setParameter": (c_size_t, c_void_p, c_int, c_int),
    "ZSTD_decompressStream": (c_size_t, c_void_p, POINTER(_Buffer), POINTER(_Buffer)),
    "ZSTD_createCCtx": (c_void_p,),
    "ZSTD_freeCCtx": (c_size_t, c_void_p),
    "ZSTD_CCtx_setParameter": (c_size_t, c_void_p, c_int, c_int),
    "ZSTD_compressStream2": (c_size_t, c_void_p, POINTER(_Buffer), POINTER(_Buffer), c_int),
}


@lru_cache(maxsize=1)
def library() -> Any:
    """Return the library, None where there is none, or an older one."""
    return system_library.load(LIBRARIES, FUNCTIONS, "ZSTD_versionNumber", OLDEST)


def version() -> str:
    """Return what the library says that it is, "" without one."""
    found = library()
    return f"libzstd {found.ZSTD_versionString().decode('ascii', 'replace')}" if found else ""


class _Context:
    """A context of the library's, freed with its object."""

    kind = ""

    def __init__(self, options: Mapping[int, int]) -> None:
        self._library = library()
        self._free = getattr(self._library, f"ZSTD_free{self.kind}Ctx")
        self._context = system_library.present(getattr(self._library, f"ZSTD_create{self.kind}Ctx")())
        for number, value in options.items():
            self._good(getattr(self._library, f"ZSTD_{self.kind}Ctx_setParameter")(self._context, number, value))

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._free(self._context)

    def _good(self, result: int) -> int:
        """Return what a function has returned. Raises ZstdError when that is an error."""
        if self._library.ZSTD_isError(result):
            raise ZstdError(self._library.ZSTD_getErrorName(result).decode("ascii", "replace"))
        return result


class ZstdDecompressor(_Context):
    """Reads one frame."""

    kind = "D"

    def __init__(self, options: Mapping[int, int]) -> None:
        super().__init__(options)
        self.eof, self.needs_input, self.unused_data = False, True, b""
        self._left = b""
        self._room = ctypes.create_string_buffer(0)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most max_length bytes, which is more than 0. Raises ZstdError."""
        given = self._left + data
        if len(self._room) != max_length:
            self._room = ctypes.create_string_buffer(max_length)
        taken = _Buffer(ctypes.cast(c_char_p(given), c_void_p), len(given), 0)
        made = _Buffer(ctypes.addressof(self._room), max_length, 0)
        wanted = -1
        while wanted and made.at < made.size and (wanted < 0 or taken.at < taken.size):
            wanted = self._good(self._library.ZSTD_decompressStream(self._context, byref(made), byref(taken)))
        self.eof = not wanted
        self.needs_input = not self.eof and made.at < made.size
        self._left = b"" if self.eof else given[taken.at :]
        self.unused_data = given[taken.at :] if self.eof else b""
        return ctypes.string_at(self._room, made.at)


class ZstdCompressor(_Context):
    """Writes one frame."""

    kind = "C"

    def __init__(self, options: Mapping[int, int]) -> None:
        super().__init__(options)
        self._room = ctypes.create_string_buffer(PIECE)

    def compress(self, data: bytes) -> bytes:
        """Take data, return what is ready."""
        return self._run(bytes(data), CONTINUE)

    def flush(self) -> bytes:
        """Return the rest."""
        return self._run(b"", END)

    def _run(self, data: bytes, directive: int) -> bytes:
        taken, pieces = _Buffer(ctypes.cast(c_char_p(data), c_void_p), len(data), 0), []
        while True:
            made = _Buffer(ctypes.addressof(self._room), PIECE, 0)
            stream = self._library.ZSTD_compressStream2
            left = self._good(stream(self._context, byref(made), byref(taken), directive))
            pieces.append(ctypes.string_at(self._room, made.at))
            if (left == 0) if directive == END else (taken.at == taken.size):
                return b"".join(pieces)
