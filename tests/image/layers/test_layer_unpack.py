"""Blobs as a whole: verified before anything comes out, checked to the last byte, and no thread survives a failure."""

import errno
import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import Corrupt, RunjailError, StorageError
from runjail.image.layers import layer, pipeline
from runjail.image.model import Descriptor
from tests.support.image import tars
from tests.support.image.tars import archive, member
from tests.support.leaks import Held

needs_root = pytest.mark.needs("root")
LARGE = archive(*[member(b"f%d" % number, bytes([number]) * 500_000) for number in range(40)])


@pytest.fixture(name="no_thread_left", autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Have every test end with the threads it began with."""
    before = Held()
    yield
    assert before.more() == []


@pytest.fixture(name="stored")
def _stored(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    """Return a way to have content as an open file."""
    opened = []

    def store(content: bytes) -> int:
        path = tmp_path / f"blob{len(opened)}"
        path.write_bytes(content)
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1]

    yield store
    for file in opened:
        os.close(file)


def describe(content: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor("type", f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}", len(content))


# Verifying ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"x", LARGE])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_good_blob_is_verified(stored: Callable[[bytes], int], content: bytes, algorithm: str) -> None:
    """The file's offset stays."""
    file = stored(content)

    layer.verify(file, describe(content, algorithm))

    assert os.lseek(file, 0, os.SEEK_CUR) == 0


def test_a_blob_of_another_size_is_corrupt(stored: Callable[[bytes], int]) -> None:
    with pytest.raises(Corrupt, match=r"layer sha256:.*: 3 bytes instead of 4"):
        layer.verify(stored(b"abc"), describe(b"abcd"))


def test_a_blob_of_another_digest_is_corrupt(stored: Callable[[bytes], int]) -> None:
    with pytest.raises(Corrupt, match="its content has the digest sha256:"):
        layer.verify(stored(b"abce"), describe(b"abcd"))


# Unpacking ----------------------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_layer_says_what_it_was(root: Path, stored: Callable[[bytes], int], algorithm: str) -> None:
    """Size of the archive, number of entries; progress counts bytes of the blob."""
    content, counts = gzip.compress(LARGE, 1), list[int]()

    done = layer.unpack(stored(content), str(root), describe(LARGE, algorithm).digest, progress=counts.append)

    assert done == layer.Unpacked(len(LARGE), 40, ())
    assert (sum(counts), len(os.listdir(root))) == (len(content), 40)


@needs_root
@pytest.mark.parametrize("tail", [b"", b"\0", b"more", bytes(1 << 20)])
def test_the_diff_id_covers_every_byte(root: Path, stored: Callable[[bytes], int], tail: bytes) -> None:
    """Also what follows the end of the archive."""
    whole = archive(member(b"f", b"x"))

    layer.unpack(stored(whole + tail), str(root), tars.digest(whole + tail))
    with pytest.raises(Corrupt, match="a layer of diffID sha256:"):
        layer.unpack(stored(whole + tail + b"\0"), str(root), tars.digest(whole + tail))


@needs_root
def test_a_layer_is_decrypted_on_the_way(root: Path, stored: Callable[[bytes], int]) -> None:
    """What comes out of the cipher is what is looked at."""

    class Swap:
        def update(self, data: bytes) -> bytes:
            return data.translate(bytes(range(255, -1, -1)))

    layer.unpack(stored(Swap().update(gzip.compress(LARGE, 1))), str(root), tars.digest(LARGE), decryptor=Swap())

    assert (root / "f7").read_bytes() == b"\7" * 500_000


# Failures -----------------------------------------------------------------------------------------------------------


@needs_root
def test_a_cipher_that_fails_ends_everything(root: Path, stored: Callable[[bytes], int]) -> None:
    """With its own error, not with that of the archive that ended early."""

    class Failing:
        calls = 0

        def update(self, data: bytes) -> bytes:
            self.calls += 1
            if self.calls == 20:
                raise RunjailError("the key is gone")
            return data

    with pytest.raises(RunjailError, match="the key is gone"):
        layer.unpack(stored(LARGE), str(root), tars.digest(LARGE), decryptor=Failing())


@needs_root
def test_a_disk_that_fails_ends_everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the blob's own file is said to be one."""

    def bad(_file: int, _length: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(layer.os, "pread", bad)

    with pytest.raises(StorageError, match="reading a layer's blob: input/output error"):
        layer.unpack(0, str(root), tars.digest(b""))


@needs_root
def test_an_early_failure_stops_the_rest(root: Path, stored: Callable[[bytes], int]) -> None:
    """A bad first entry ends a layer of 20 MB without reading all of it."""
    counts: list[int] = []
    content = archive(member(b"../x")) + LARGE

    with pytest.raises(Corrupt, match=r"`\.\.`"):
        layer.unpack(stored(content), str(root), tars.digest(content), progress=counts.append)

    assert sum(counts) < len(content) // 2


def test_a_consumer_that_fails_is_the_cause() -> None:
    """Although the block that reads the chunks sees only an early end."""

    def fail(_data: bytes) -> None:
        raise MemoryError

    with pytest.raises(MemoryError), pipeline.Tee((b"x" for _ in range(1000)), [fail]) as chunks:
        for _ in chunks:
            pass


def test_an_interrupted_block_ends_all_threads() -> None:
    """Ctrl-C in the middle, with every queue full."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    with pytest.raises(KeyboardInterrupt), pipeline.Tee(endless(), [lambda _data: None]) as chunks:
        next(chunks)
        raise KeyboardInterrupt


def test_every_consumer_sees_everything() -> None:
    """In order, and the block too."""
    first, second = list[bytes](), list[bytes]()
    pieces = [b"%d" % number for number in range(500)]

    with pipeline.Tee(pieces, [first.append, second.append]) as chunks:
        third = list(chunks)

    assert first == second == third == pieces


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from runjail.image.layers import layer
print(layer.unpack(os.open(sys.argv[2], os.O_RDONLY), sys.argv[3], sys.argv[4]).size)
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


@needs_root
@pytest.mark.needs("linux")
def test_memory_stays_flat(root: Path) -> None:
    """Peak memory of a process that unpacks a quarter of a gigabyte: the goal is 150 MB whatever the size."""
    head, size = tars.header(b"f", size=256 << 20), 256 << 20
    hashed = hashlib.sha256(head)
    with gzip.open(root.parent / "blob", "wb", 1) as blob:
        blob.write(head)
        for _ in range(size >> 20):
            hashed.update(bytes(1 << 20))
            blob.write(bytes(1 << 20))

    top = Path(__file__).resolve().parents[3]
    words = [sys.executable, "-c", PROGRAM, top, root.parent / "blob", root, f"sha256:{hashed.hexdigest()}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    assert int(said[0]) == size + 512
    assert int(said[1]) < 100_000
