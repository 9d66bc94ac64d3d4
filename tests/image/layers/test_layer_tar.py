"""Archives as others write them: GNU tar, bsdtar and Python, in all their formats."""

import base64
import io
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from runjail.errors import Corrupt
from runjail.image.layers import pax, tar
from tests.support.image import tars
from tests.support.image.tars import archive, directory, header, member, symlink

needs_root = pytest.mark.needs("root")
HOLE = 1 << 20
LONG = "a rather long directory name that is repeated/" * 6 + "end"


def entries(*parts: bytes) -> list[tar.Entry]:
    """Read an archive that comes in awkward pieces."""
    data = archive(*parts)
    return list(tar.Reader(data[at : at + 777] for at in range(0, len(data), 777)))


def program(name: str, says: str) -> str:
    """Return the path of a tar of the given kind, or skip."""
    for candidate in (name, "tar"):
        path = shutil.which(candidate)
        if path and says in subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout:
            return path
    pytest.skip(f"needs {says}")


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    """Return a tree with every kind of thing that an ordinary user has."""
    top = tmp_path / "source"
    (top / LONG).mkdir(parents=True)
    (top / LONG / "file").write_bytes(random.Random(3).randbytes(100_000))
    (top / "empty").touch(mode=0o640)
    (top / "suid").write_text("s")
    os.chown(top / "suid", 1234, 2_000_000 if os.geteuid() == 0 else -1)
    os.chmod(top / "suid", 0o6755)
    os.symlink("x" * 150, top / "long link")
    os.symlink("suid", top / "link")
    os.link(top / "suid", top / "hard")
    os.link(top / "link", top / "hard link to a link")
    os.mkfifo(top / "fifo", 0o600)
    os.mkdir(os.fsencode(top) + b"/caf\xe9 \xff", 0o1777)
    with open(top / "sparse", "wb") as file:
        for place in (0, 3, 4, 9, 10, 11, 20, 21, 30):
            file.seek(place * HOLE)
            file.write(b"data %d" % place)
        file.truncate(40 * HOLE)
    for number, path in enumerate([*sorted(top.rglob("*")), top]):
        os.utime(path, ns=(1, 1_500_000_000_000_000_000 + number * 1_000_000_007), follow_symlinks=False)
    return top


def rounded(tree: dict[str, tuple[object, ...]], *, seconds: bool) -> dict[str, tuple[object, ...]]:
    """Cut times to whole seconds, for formats that know no more."""
    if not seconds:
        return tree
    return {name: (*found[:3], int(str(found[3])) // 10**9, *found[4:]) for name, found in tree.items()}


GNU_WAYS = {
    "posix": ["--format=posix"],
    "gnu": ["--format=gnu"],
    "oldgnu": ["--format=oldgnu"],
    "posix sparse 0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "posix sparse 0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "posix sparse 1.0": ["--format=posix", "--sparse", "--sparse-version=1.0"],
    "gnu sparse": ["--format=gnu", "--sparse"],
}


@needs_root
@pytest.mark.parametrize("options", GNU_WAYS.values(), ids=GNU_WAYS.keys())
def test_gnu_tar(source: Path, tmp_path: Path, options: list[str]) -> None:
    """What GNU tar packs we unpack to the same tree; sparse files stay sparse."""
    packed = subprocess.run(
        [
            program("gtar", "GNU tar"),
            *options,
            "--hard-dereference" if "x" in options else "--sort=name",
            "-cf-",
            "-C",
            source,
            ".",
        ],
        capture_output=True,
        check=True,
    ).stdout
    root = tmp_path / "root"
    root.mkdir()

    tars.unpack(root, packed)

    seconds = "--format=posix" not in options
    assert rounded(tars.exactly(root), seconds=seconds) == rounded(tars.exactly(source), seconds=seconds)
    if "--sparse" in options:
        assert (root / "sparse").stat().st_blocks * 512 < 2 * HOLE


@needs_root
@pytest.mark.parametrize("kind", ["pax", "gnutar", "ustar"])
def test_bsdtar(source: Path, tmp_path: Path, kind: str) -> None:
    """What libarchive packs we unpack to the same tree."""
    if kind == "ustar":
        shutil.rmtree(source / LONG.split("/", maxsplit=1)[0])
        (source / "long link").unlink()
        os.chown(source / "suid", 1234, 99)  # libarchive's ustar has six digits for a group
    command = [program("bsdtar", "bsdtar"), "-c", "--format", kind, "-f", "-", "-C", str(source), "."]
    packed = subprocess.run(command, capture_output=True, check=True, env=os.environ | {"LC_ALL": "C.UTF-8"}).stdout
    root = tmp_path / "root"
    root.mkdir()

    tars.unpack(root, packed)

    assert rounded(tars.exactly(root), seconds=kind != "pax") == rounded(tars.exactly(source), seconds=kind != "pax")


@needs_root
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_python(source: Path, tmp_path: Path, form: int) -> None:
    """What tarfile packs we unpack to the same tree; it does not know hard links to symbolic ones."""
    (source / "hard link to a link").unlink()
    if form == tarfile.USTAR_FORMAT:
        (source / "long link").unlink()
        shutil.rmtree(source / LONG.split("/", maxsplit=1)[0])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as writer:
        writer.add(source, ".")
    root = tmp_path / "root"
    root.mkdir()

    tars.unpack(root, out.getvalue())

    # A float holds a time to about 200 ns, so they are compared in seconds
    assert rounded(tars.exactly(root), seconds=True) == rounded(tars.exactly(source), seconds=True)


def test_numbers() -> None:
    """Octal with any padding, and base 256, also below zero."""
    fields = [b"0000644\0", b"    644 ", b"644\0\0\0\0\0", b"644 junk"[:4] + b"\0jun", b"\0" * 8, b" " * 8]
    wide = [b"\x80" + (10**12).to_bytes(11, "big"), b"\xff" * 11 + b"\xfe"]

    assert [pax.number(field, "mode") for field in fields] == [0o644] * 4 + [0, 0]
    assert [pax.number(field, "mtime") for field in wide] == [10**12, -2]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"1350244992.023960108", 1_350_244_992_023_960_108),
        (b"7.1234567899", 7_123_456_789),
        (b"7.", 7_000_000_000),
        (b"0", 0),
    ],
)
def test_times_are_exact(text: bytes, nanoseconds: int) -> None:
    """No float is on the way."""
    assert pax.timestamp(text) == nanoseconds


def test_pax_records_win_over_the_header() -> None:
    """Except empty ones, which mean the header's."""
    extra = tars.pax(
        (b"path", b"new"),
        (b"uid", b"3000000"),
        (b"gid", b"5"),
        (b"mtime", b"-2.25"),
        (b"linkpath", b"to"),
        (b"size", b""),
    )
    found = entries(extra, symlink(b"old", b"from"))[0]

    assert (found.name, found.link, found.uid, found.gid, found.mtime) == (b"new", b"to", 3_000_000, 5, -2_250_000_000)


def test_a_pax_size_says_where_the_next_entry_is() -> None:
    """The header's size is ignored then."""
    found = entries(tars.pax((b"size", b"600")), header(b"a", size=3), bytes(1024), member(b"b", b"x"))

    assert [(entry.name, entry.size) for entry in found] == [(b"a", 600), (b"b", 1)]


def test_global_headers_say_nothing() -> None:
    """A name or an owner for all entries would be absurd in a layer."""
    found = entries(tars.pax((b"path", b"evil"), (b"uid", b"7"), kind=b"g"), member(b"a"))[0]

    assert (found.name, found.uid) == (b"a", 0)


def test_binary_names() -> None:
    """hdrcharset or not: a name is bytes."""
    found = entries(tars.pax((b"hdrcharset", b"BINARY"), (b"path", b"\xff\xfe\n=1")), member(b"a"))

    assert found[0].name == b"\xff\xfe\n=1"


def test_extended_attributes_of_both_kinds() -> None:
    """star's are raw, with any byte; libarchive's are coded, and come second."""
    coded = base64.b64encode(b"\0\xff").rstrip(b"=")
    found = entries(
        tars.pax(
            (b"LIBARCHIVE.xattr.user.both", base64.b64encode(b"coded")),
            (b"LIBARCHIVE.xattr.user.a%20b", coded),
            (b"SCHILY.xattr.user.both", b"raw\n=\0"),
            (b"SCHILY.xattr.user.empty", b""),
            (b"SCHILY.fflags", b"schg,nodump"),
        ),
        member(b"a"),
    )[0]

    assert found.xattrs == {b"user.both": b"raw\n=\0", b"user.a b": b"\0\xff", b"user.empty": b""}
    assert found.flags == b"schg,nodump"


@pytest.mark.parametrize("pair", [(b"LIBARCHIVE.xattr.user.x", b"!"), (b"LIBARCHIVE.xattr.user.%00x", b"eA")])
def test_damaged_attributes_are_corrupt(pair: tuple[bytes, bytes]) -> None:
    """Neither a value that is no base64 nor a name with a NUL."""
    with pytest.raises(Corrupt, match=r"not base64|a NUL"):
        entries(tars.pax(pair), member(b"a"))


def test_v7_directories() -> None:
    """Before there were types, a slash at the end made the directory."""
    found = entries(
        member(b"d/", kind=b"\0", magic=bytes(8)), member(b"f", b"x", kind=b"\0", magic=bytes(8)), directory(b"e")
    )

    assert [(entry.name, entry.kind) for entry in found] == [(b"d/", b"5"), (b"f", b"0"), (b"e", b"5")]


def test_the_prefix_is_ustars_only() -> None:
    """GNU has times where ustar has the first part of a name."""
    found = entries(member(b"b", prefix=b"a/x"), member(b"b", prefix=b"15000000000", magic=b"ustar  \0"))

    assert [entry.name for entry in found] == [b"a/x/b", b"b"]


def test_names_may_fill_their_field() -> None:
    """A hundred bytes leave no room for a NUL."""
    assert entries(member(b"n" * 100), symlink(b"l", b"t" * 100))[0].name == b"n" * 100


def test_signed_checksums_are_accepted() -> None:
    """Some tars of old summed signed characters."""
    block = bytearray(header(b"caf\xe9"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % (sum(block) - 256)

    assert entries(bytes(block))[0].name == b"caf\xe9"


def test_a_body_may_be_left_alone() -> None:
    """The next entry is found all the same, wherever pieces end."""
    names = [b"%d" % number for number in range(50)]

    found = entries(*[member(name, name * number * 37) for number, name in enumerate(names)])

    assert [entry.name for entry in found] == names


def test_everything_is_read_to_the_end() -> None:
    """A diffID covers what follows the archive."""
    rest = iter([archive(member(b"a")), bytes(9000), b"more"])

    assert len(list(tar.Reader(rest))) == 1
    assert list(rest) == []
