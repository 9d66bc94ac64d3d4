"""zstd by the system's library: what it makes and reads, by itself and beside Python's module and zstd(1)."""

import random
import shutil
import struct
import subprocess
from typing import Any

import pytest

from runjail.errors import Corrupt, RunjailError
from runjail.image.layers import compression, libzstd

CONTENT = random.Random(7).randbytes(50_000) + b"runjail " * 400_000
SKIPPABLE = struct.pack("<II", 0x184D2A5E, 6) + b"footer"
with_library = pytest.mark.skipif(not libzstd.library(), reason="needs libzstd")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have layers read and written with the library."""
    monkeypatch.setattr(compression, "_zstd", compression._libzstd)


def packed(content: bytes = CONTENT, level: int = 3, step: int = 70_001) -> bytes:
    made = compression.compressor("zstd", level)
    parts = [made.update(content[at : at + step]) for at in range(0, len(content), step)]
    return b"".join(parts) + made.finish()


def read(data: bytes, step: int = 10_007, **limits: int) -> bytes:
    return b"".join(compression.decompress((data[at : at + step] for at in range(0, len(data), step)), **limits))


@with_library
@pytest.mark.parametrize("step", [1, 700, 10_007, 1 << 22])
def test_there_and_back(step: int) -> None:
    content = CONTENT if step > 1 else CONTENT[40_000:60_000]

    assert read(packed(content), step) == content
    assert read(packed(b""), step) == b""


@with_library
def test_many_frames_and_what_is_skipped() -> None:
    """zstd:chunked: a frame for each file, and tables between them; zeroes after the end."""
    frames = SKIPPABLE + b"".join(packed(bytes([value]) * 5_000) + SKIPPABLE for value in range(50))

    for step in (7, 4_096, len(frames)):
        assert read(frames + bytes(600), step) == b"".join(bytes([value]) * 5_000 for value in range(50))


@with_library
def test_it_comes_in_pieces_that_are_not_large() -> None:
    """A megabyte of zeroes is 50 bytes, and a gigabyte not much more: no step makes more than it is asked for."""
    data, sizes = packed(bytes(50 << 20)), []
    for piece in compression.decompress([data]):
        sizes.append(len(piece))

    assert sum(sizes) == 50 << 20
    assert max(sizes) <= compression.OUTPUT
    with pytest.raises(Corrupt, match="holds more than 1000 bytes"):
        read(data, limit=1000)
    with pytest.raises(Corrupt, match="grows more than 20-fold"):
        read(data, ratio=20)


@with_library
@pytest.mark.parametrize("at", [8, 30_000, -2])
def test_damage_is_noticed(at: int) -> None:
    """The checksum is part of the frame."""
    data = bytearray(packed())
    data[at] ^= 0x10

    with pytest.raises(Corrupt, match=r"damaged zstd data|ends too early"):
        read(bytes(data))


@with_library
@pytest.mark.parametrize("end", [5, 30_000, -1])
def test_an_early_end_is_noticed(end: int) -> None:
    with pytest.raises(Corrupt, match="the zstd data ends too early"):
        read(packed()[:end])


@with_library
def test_a_frame_that_wants_too_much_memory() -> None:
    """A window of 2 GiB: magic, a descriptor without anything optional, the window's logarithm less 10."""
    with pytest.raises(Corrupt, match="damaged zstd data"):
        read(b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\x00\x00")


@with_library
def test_the_module_and_the_program_read_it_and_it_reads_theirs() -> None:
    found = 0
    if program := shutil.which("zstd"):
        found += 1
        assert subprocess.run([program, "-dc"], input=packed(), check=True, capture_output=True).stdout == CONTENT
        made = subprocess.run([program, "-19", "-c"], input=CONTENT, check=True, capture_output=True).stdout
        assert read(made) == CONTENT
    try:
        from backports import zstd
    except ImportError:
        pass
    else:
        found += 1
        options: Any = {zstd.CompressionParameter.checksum_flag: 1}
        assert zstd.decompress(packed()) == CONTENT
        assert read(zstd.compress(CONTENT, options=options)) == CONTENT
    if not found:
        pytest.skip("needs zstd(1) or backports.zstd")


@pytest.mark.parametrize("fault", ["missing", "older", "another"])
def test_without_the_library_the_error_names_what_to_install(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __getattr__(self, name: str) -> object:
            if fault == "another" and name == "ZSTD_compressStream2":
                raise AttributeError(name)
            return lambda *_: 10300

    def load(_name: str) -> Library:
        if fault == "missing":
            raise OSError("no such library")
        return Library()

    monkeypatch.setattr("ctypes.CDLL", load)
    libzstd.library.cache_clear()
    try:
        with pytest.raises(RunjailError, match=r"zstd layers need the Python module backports.zstd") as caught:
            packed(b"")
        assert "py-backports.zstd" in (caught.value.hint or "")
        assert libzstd.version() == ""
    finally:
        libzstd.library.cache_clear()


@with_library
@pytest.mark.parametrize("kind", ["C", "D"])
def test_no_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NULL in the place of a context is an error with a remedy, and nothing is freed that was not made."""
    freed: list[object] = []
    monkeypatch.setattr(libzstd.library(), f"ZSTD_create{kind}Ctx", lambda: None)
    monkeypatch.setattr(libzstd.library(), f"ZSTD_free{kind}Ctx", freed.append)

    with pytest.raises(RunjailError, match="a library of the system finds no memory"):
        packed() if kind == "C" else read(b"\x28\xb5\x2f\xfd")
    assert freed == []
