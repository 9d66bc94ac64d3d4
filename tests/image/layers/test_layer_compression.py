"""Compressed streams: every form that layers come in, damage and ends noticed, memory and growth bounded."""

import builtins
import gzip
import lzma
import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runjail.errors import Corrupt, RunjailError, UsageError
from runjail.image.layers import compression, libzstd

CONTENT = random.Random(7).randbytes(50_000) + b"runjail " * 200_000
SKIPPABLE = struct.pack("<II", 0x184D2A5E, 6) + b"footer"


def zstd() -> Any:
    """Return Python's module, or skip: the library that stands in has tests of its own."""
    try:
        found = compression._zstd()
    except RunjailError:
        found = libzstd
    if found is libzstd:
        pytest.skip("needs backports.zstd")
    return found


def blob(kind: str, content: bytes = CONTENT) -> bytes:
    """Compress with the reference implementation."""
    if kind == "zstd":
        return bytes(zstd().compress(content, options={zstd().CompressionParameter.checksum_flag: 1}))
    return {"": bytes, "gzip": gzip.compress, "xz": lzma.compress}[kind](content)


def read(data: bytes, step: int = 10_007, **limits: int) -> bytes:
    """Decompress a blob that comes in steps."""
    return b"".join(compression.decompress((data[at : at + step] for at in range(0, len(data), step)), **limits))


KINDS = ("", "gzip", "zstd", "xz")


@pytest.fixture(name="without_isal", params=["isal", "zlib"])
def _without_isal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have gzip read with isal, and then without it."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        hide(monkeypatch, "isal")


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make modules as good as absent."""
    real: Callable[..., Any] = builtins.__import__

    def find(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", find)


@pytest.mark.parametrize("kind", KINDS)
def test_content_decides(kind: str) -> None:
    """The first bytes say what a blob is."""
    assert compression.detect(blob(kind)[:6]) == kind


def test_zstd_chunked_begins_with_a_frame_to_skip() -> None:
    """All sixteen magic numbers of skippable frames are zstd's, their neighbours are not."""
    magics = {number: compression.detect(struct.pack("<I", number) + b"xx") for number in range(0x184D2A4F, 0x184D2A61)}

    assert {number for number, kind in magics.items() if kind == "zstd"} == set(range(0x184D2A50, 0x184D2A60))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1 << 20, 10_007, 700])
@pytest.mark.usefixtures("without_isal")
def test_a_stream_comes_out_as_it_went_in(kind: str, step: int) -> None:
    """However it is cut into pieces."""
    assert read(blob(kind), step) == CONTENT


@pytest.mark.usefixtures("without_isal")
def test_one_byte_at_a_time() -> None:
    """The first six bytes need not come together, and no header either."""
    assert read(gzip.compress(b"a") + gzip.compress(b"b") + bytes(3), step=1) == b"ab"


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
@pytest.mark.usefixtures("without_isal")
def test_members_follow_one_another(kind: str) -> None:
    """An estargz is a member for each file, and zstd:chunked a frame; empty ones are in between."""
    assert (
        read(blob(kind, b"one") + blob(kind, b"") + blob(kind, CONTENT) + blob(kind, b"end"))
        == b"one" + CONTENT + b"end"
    )


@pytest.mark.usefixtures("without_isal")
def test_an_estargz_footer_is_no_content() -> None:
    """It is an empty member with an extra field."""
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % 1234
    footer = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(extra)) + extra
    footer += zlib.compressobj(0, zlib.DEFLATED, -15).flush() + bytes(8)

    assert read(blob("gzip", b"toc") + footer) == b"toc"


def test_frames_to_skip_are_skipped() -> None:
    """Before, between and after."""
    assert read(SKIPPABLE + blob("zstd", b"a") + SKIPPABLE + SKIPPABLE + blob("zstd", b"b") + SKIPPABLE) == b"ab"


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
@pytest.mark.usefixtures("without_isal")
def test_zeros_may_follow(kind: str) -> None:
    """Blobs are padded to whole blocks by some; what follows the zeros is damage."""
    assert read(blob(kind) + bytes(100_000)) == CONTENT
    with pytest.raises(Corrupt, match="follows the end"):
        read(blob(kind) + bytes(100_000) + blob(kind))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
@pytest.mark.usefixtures("without_isal")
def test_an_early_end_is_corrupt(kind: str) -> None:
    """Wherever the stream is cut, and also when that is in a second member."""
    whole = blob(kind, CONTENT[:60_000])
    for end in [7, 9, 100, len(whole) // 2, *range(len(whole) - 20, len(whole))]:
        with pytest.raises(Corrupt, match="ends too early"):
            read(whole[:end])
    with pytest.raises(Corrupt, match="ends too early"):
        read(whole + whole[:-1])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
@pytest.mark.usefixtures("without_isal")
def test_damage_is_corrupt(kind: str) -> None:
    """In the middle of the data, in the checksum, and what follows the end without being a member."""
    whole = bytearray(blob(kind, CONTENT[:60_000]))
    for place in (len(whole) // 2, len(whole) - 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        with pytest.raises(Corrupt, match=r"damaged|too early"):
            read(bytes(damaged))
    with pytest.raises(Corrupt, match="damaged"):
        read(bytes(whole) + b"garbage at the end of it")


def test_a_frame_to_skip_that_ends_early_is_corrupt() -> None:
    """It holds nothing, and still has to be there."""
    with pytest.raises(Corrupt, match="ends too early"):
        read(blob("zstd") + SKIPPABLE[:-1])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
@pytest.mark.usefixtures("without_isal")
def test_a_bomb_comes_out_in_pieces(kind: str) -> None:
    """One step of input makes no more than a piece of output at once."""
    bomb = blob(kind, bytes(32 << 20))

    assert max(map(len, compression.decompress([bomb]))) <= compression.OUTPUT


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_ends_the_stream(kind: str) -> None:
    """Exactly at the limit is fine, one byte less is not."""
    data = blob(kind)

    assert read(data, limit=len(CONTENT)) == CONTENT
    with pytest.raises(Corrupt, match="holds more than"):
        read(data, limit=len(CONTENT) - 1)


def test_a_ratio_ends_the_stream() -> None:
    """Growth counts from an allowance on."""
    data = blob("gzip", bytes(8 << 20))

    assert len(read(data, ratio=10, allowance=8 << 20)) == 8 << 20
    with pytest.raises(Corrupt, match="10-fold"):
        read(data, ratio=10, allowance=1 << 20)


def test_a_window_of_gigabytes_is_refused() -> None:
    """A frame's header can ask for any memory."""
    zstd()
    header = b"\x28\xb5\x2f\xfd" + bytes([0x00, 21 << 3])  # a window of 2^31 bytes

    with pytest.raises(Corrupt, match="damaged zstd"):
        read(header + bytes(100))


def test_a_window_of_128_mib_is_read() -> None:
    """As zstd --ultra -22 and --long write them."""
    parameter = zstd().CompressionParameter
    data = zstd().compress(CONTENT, options={parameter.window_log: 27, parameter.enable_long_distance_matching: 1})

    assert read(data) == CONTENT


def test_an_error_of_the_source_passes_through() -> None:
    """Whatever reads the blob fails with its own error."""

    def chunks() -> Iterator[bytes]:
        yield blob("gzip")[:1000]
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(compression.decompress(chunks()))


def test_without_zstd_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing is one line and a hint."""
    hide(monkeypatch, "backports", "compression")
    monkeypatch.setattr(libzstd, "library", lambda: None)

    with pytest.raises(RunjailError, match=r"need the Python module backports\.zstd") as caught:
        read(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "devel/py-backports.zstd" in str(caught.value.hint)


# Writing ------------------------------------------------------------------------------------------------------------


def written(kind: str, level: int | None, content: bytes = CONTENT) -> bytes:
    """Compress in pieces."""
    packer = compression.compressor(kind, level)
    return b"".join([*(packer.update(content[at : at + 9999]) for at in range(0, len(content), 9999)), packer.finish()])


@pytest.mark.parametrize(("kind", "level"), [("gzip", None), ("gzip", 1), ("gzip", 9), ("zstd", None), ("zstd", 19)])
def test_what_we_write_others_read(kind: str, level: int | None) -> None:
    """gzip(1) and zstd(1) are the judges."""
    if kind == "zstd":
        zstd()
    data = written(kind, level)

    try:
        judged = subprocess.run([kind, "-dc"], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip(f"needs {kind}(1)")

    assert (judged, read(data), written(kind, level)) == (CONTENT, CONTENT, data)


def test_a_gzip_header_names_no_time() -> None:
    """Equal layers have equal digests."""
    assert written("gzip", None)[:8] == b"\x1f\x8b\x08" + bytes(5)


def test_a_level_matters() -> None:
    """More work, fewer bytes."""
    text = b"".join(b"line %d of the text\n" % (number * number) for number in range(20_000))

    assert len(written("gzip", 9, text)) < len(written("gzip", 1, text))


@pytest.mark.parametrize(
    ("kind", "level"), [("gzip", 0), ("gzip", 10), ("zstd", 0), ("zstd", 23), ("xz", None), ("", None), ("zstd", -5)]
)
def test_other_kinds_and_levels_are_usage_errors(kind: str, level: int | None) -> None:
    """They are words of a command line."""
    with pytest.raises(UsageError, match=r"must be gzip or zstd|is a number from 1 to"):
        compression.compressor(kind, level)
