"""Hostile layers: whatever an archive says, nothing outside of its root is touched, and the outcome is exactly known.

The root has neighbours, the canary: a file, a directory, a link, with known times, compared to the nanosecond. Every
case unpacks one layer or several over each other. It ends in an error whose text is given, or in the tree given.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import Corrupt, ImageError
from runjail.image.layers.layer import Limits
from tests.support.image import tars
from tests.support.image.tars import archive, directory, hardlink, header, long_name, member, pax, symlink
from tests.support.leaks import Held

pytestmark = pytest.mark.needs("root")

OUTSIDE = "outside"
FILE, DIR = member(b"file", b"mine"), directory(b"dir")


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Iterator[Path]:
    """Return an empty root; at the end nothing beside it may have changed."""
    outside = tmp_path / OUTSIDE
    (outside / "inner").mkdir(parents=True)
    (outside / "secret").write_text("do not touch")
    (outside / "link").symlink_to("secret")
    root = tmp_path / "root"
    root.mkdir()
    for path in (outside / "secret", outside / "inner", outside, tmp_path):
        os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    before, held = tars.exactly(outside), Held()
    yield root
    assert tars.exactly(outside) == before
    assert sorted(os.listdir(tmp_path)) == [OUTSIDE, "root"]
    assert held.more() == []


def apply(root: Path, layers: list[bytes], limits: Limits | None = None) -> None:
    """Unpack layers over each other; names in them may say OUTSIDE for the canary's path."""
    for content in layers:
        tars.unpack(root, content, limits=limits)


def escape(root: Path) -> bytes:
    """Return the absolute path of the canary."""
    return os.fsencode(root.parent / OUTSIDE)


# Names --------------------------------------------------------------------------------------------------------------

DOTS = "`..`"
DEEP = b"/".join([b"d"] * 300)
REFUSED: dict[str, tuple[list[bytes], str]] = {
    "a name with dots": ([archive(member(b"../outside/secret", b"x"))], DOTS),
    "dots after a directory": ([archive(DIR, member(b"dir/../../outside/secret", b"x"))], DOTS),
    "dots that stay inside": ([archive(DIR, member(b"dir/../file", b"x"))], DOTS),
    "dots alone": ([archive(directory(b".."))], DOTS),
    "dots in a ustar prefix": ([archive(member(b"secret", b"x", prefix=b"../outside"))], DOTS),
    "dots in a pax path": ([archive(pax((b"path", b"../outside/x")), FILE)], DOTS),
    "dots in a GNU long name": ([archive(long_name(b"../outside/x"), FILE)], DOTS),
    "dots in a sparse name": (
        [archive(pax((b"GNU.sparse.name", b"../x"), (b"GNU.sparse.size", b"4"), (b"GNU.sparse.map", b"0,4")), FILE)],
        DOTS,
    ),
    "dots in a whiteout": ([archive(header(b"../outside/.wh.secret"))], DOTS),
    "dots in an opaque whiteout": ([archive(header(b"../outside/.wh..wh..opq"))], DOTS),
    "a hard link with dots": ([archive(hardlink(b"x", b"../outside/secret"))], DOTS),
    "a hard link with dots inside": ([archive(FILE, DIR, hardlink(b"x", b"dir/../file"))], DOTS),
    "a NUL in a pax path": ([archive(pax((b"path", b"a\0b")), FILE)], "NUL"),
    "a NUL in a pax link": ([archive(pax((b"linkpath", b"a\0b")), symlink(b"l", b"x"))], "NUL"),
    "a NUL in a sparse name": ([archive(pax((b"GNU.sparse.name", b"a\0b"), (b"GNU.sparse.size", b"4")), FILE)], "NUL"),
    "a name of 5000 bytes": ([archive(long_name(b"n/" * 2500), FILE)], "longer than 4095"),
    "a component of 300 bytes": ([archive(long_name(b"n" * 300), FILE)], "cannot exist"),
    "a target of 5000 bytes": ([archive(long_name(b"t" * 5000, b"K"), symlink(b"l", b"t"))], "longer than 4095"),
    "300 directories deep": ([archive(long_name(DEEP), FILE)], "255 directories deep"),
    "deep by way of a link": (
        [
            archive(
                long_name(DEEP[:300]),
                directory(b"x"),
                long_name(DEEP[:300], b"K"),
                symlink(b"l", b""),
                long_name(b"l/" + DEEP[:300]),
                directory(b"y"),
            )
        ],
        "255 directories deep",
    ),
    "a link to nothing": ([archive(symlink(b"l", b""))], "to nothing"),
    # The root
    "the root as a link": ([archive(symlink(b".", b"../outside"))], "root directory"),
    "the root as a link, with a slash": ([archive(symlink(b"./", b"/etc"))], "root directory"),
    "the root as a file": ([archive(member(b"/", b"x"))], "root directory"),
    "the root as a hard link": ([archive(hardlink(b"./.", b"file"))], "root directory"),
    "an empty name": ([archive(member(b"", b"x"))], "root directory"),
    "the root as a device": ([archive(header(b".", b"3", major=1, minor=3))], "root directory"),
    # Hard links
    "a hard link to itself": ([archive(FILE, hardlink(b"file", b"./file"))], "to itself"),
    "a hard link to itself by a link": ([archive(DIR, symlink(b"s", b"dir"), hardlink(b"s/a", b"dir/a"))], "to itself"),
    "a hard link to a directory": ([archive(DIR, hardlink(b"x", b"dir"))], "is a directory"),
    "a hard link to nothing": ([archive(hardlink(b"x", b"nothing"))], "does not exist"),
    "a hard link to nothing deep": ([archive(hardlink(b"x", b"no/thing"))], "does not exist"),
    "a hard link to the root": ([archive(hardlink(b"x", b"."))], "does not exist"),
    "a hard link in the place of its file's directory": (
        [archive(DIR, member(b"dir/file"), hardlink(b"dir", b"dir/file"))],
        "does not exist",
    ),
    "a hard link before its file": ([archive(hardlink(b"x", b"file"), FILE)], "does not exist"),
    # What is no directory
    "a file as parent": ([archive(FILE, member(b"file/x"))], "no directory"),
    "a file of a lower layer as parent": ([archive(FILE), archive(member(b"file/x"))], "no directory"),
    "a whiteout in a file": ([archive(FILE), archive(header(b"file/.wh.x"))], "no directory"),
    "a FIFO as parent": ([archive(header(b"f", b"6"), member(b"f/x"))], "no directory"),
    "links in a circle": (
        [archive(symlink(b"a", b"b"), symlink(b"b", b"a"), member(b"a/x"))],
        "too many symbolic links",
    ),
    "a link to itself as parent": ([archive(symlink(b"a", b"a"), member(b"a/x"))], "too many symbolic links"),
    # Whiteouts
    "a whiteout of nothing": ([archive(header(b"dir/.wh."))], "whiteout of nothing"),
    "a whiteout of its directory": ([archive(DIR), archive(header(b"dir/.wh.."))], "whiteout of nothing"),
    "a whiteout of the parent": ([archive(DIR), archive(header(b"dir/.wh..."))], "whiteout of nothing"),
    "a whiteout as directory": ([archive(directory(b".wh.x"), member(b".wh.x/y"))], "cannot be a directory"),
    "an opaque whiteout as directory": ([archive(member(b".wh..wh..opq/y"))], "cannot be a directory"),
    # Numbers
    "a negative size": ([archive(header(b"f", size=b"\xff" * 12))], "size is out of range"),
    "a size of 2^63": ([archive(header(b"f", size=b"\x80\0\0\0\x80" + bytes(7)))], "size is out of range"),
    "a signed octal size": ([archive(header(b"f", size=b"-0000000001\0"))], "not a number"),
    "a size with an underscore": ([archive(header(b"f", size=b"0000000_001\0"))], "not a number"),
    "a size that is no octal number": ([archive(header(b"f", size=b"00000000099\0"))], "not a number"),
    "an owner of 2^32": ([archive(member(b"f", uid=b"\x80\0\0\1\0\0\0\0"))], "uid is out of range"),
    "an owner of -1": ([archive(member(b"f", uid=b"\x80\0\0\0\xff\xff\xff\xff"))], "uid is out of range"),
    "a negative owner": ([archive(member(b"f", uid=b"\xff" * 8))], "uid is out of range"),
    "a pax owner of 2^32": ([archive(pax((b"gid", b"4294967296")), FILE)], "gid is out of range"),
    "a pax size below zero": ([archive(pax((b"size", b"-4")), FILE)], "size is not a number"),
    "a pax size of 30 digits": ([archive(pax((b"size", b"9" * 30)), FILE)], "size is not a number"),
    "a pax time that is none": ([archive(pax((b"mtime", b"1e9")), FILE)], "not a time"),
    # Pax headers
    "a record longer than the header": ([archive(member(b"p", b"99 path=x\n", b"x"), FILE)], "damaged record"),
    "a record without a length": ([archive(member(b"p", b"path=x\n", b"x"), FILE)], "damaged record"),
    "a record of length zero": ([archive(member(b"p", b"0 a=b\n", b"x"), FILE)], "damaged record"),
    "a record with a negative length": ([archive(member(b"p", b"-9 a=b\n", b"x"), FILE)], "damaged record"),
    "a record without a newline": ([archive(member(b"p", b"8 path=xy", b"x"), FILE)], "damaged record"),
    "endless pax headers": ([archive(*[pax((b"comment", b"x"))] * 40, FILE)], "more than 16"),
    "endless long names": ([archive(*[long_name(b"x")] * 40, FILE)], "more than 16"),
    "a pax header of 2 MiB": ([archive(pax((b"comment", b"x" * (2 << 20))), FILE)], "longer than 1048576"),
    "a long name of 8 EiB": ([archive(header(b"n", b"L", size=b"\x80\0\0\0\x7f" + b"\xff" * 7))], "longer than"),
    "a pax header and the end": ([archive(FILE, pax((b"path", b"x")))], "describes the next"),
    # Sparse maps
    "a sparse map that overlaps": (
        [archive(pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,2,1,2")), FILE)],
        "contradicts",
    ),
    "a sparse map beyond the file": (
        [archive(pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"8,4")), FILE)],
        "contradicts",
    ),
    "a sparse map with less data": (
        [archive(pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,3")), FILE)],
        "does not match",
    ),
    "a sparse map of odd length": (
        [archive(pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"0,3,1")), FILE)],
        "damaged",
    ),
    "a sparse map without an end": (
        [archive(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9")), member(b"f", b"9" * 2_000_000))],
        "not a number|too long",
    ),
    "an endless old sparse map": (
        [archive(tars.checked(bytearray(header(b"f", b"S"))[:482] + b"\1" + bytes(29)), b"\1" * 2_000_000)],
        "not a number|too long",
    ),
    # What is no archive, or not whole
    "half a header": ([archive(FILE)[:300]], "too early"),
    "half a file": ([archive(member(b"f", b"x" * 2000))[:1500]], "too early"),
    "a lying size": ([header(b"f", size=10**9) + bytes(4096)], "too early"),
    "a wrong checksum": ([archive(FILE.replace(b"file", b"fill", 1))], "checksum"),
    "text": ([b"This is no archive. " * 100], "not a number|checksum"),
    "half an end": ([FILE + bytes(512) + FILE + tars.NULLS], "half an end"),
    "a socket": ([archive(header(b"s", b"s"))], "type that layers cannot have"),
    "a volume label": ([archive(header(b"v", b"V"))], "type that layers cannot have"),
}


@pytest.mark.parametrize(("layers", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_layer_is_corrupt(root: Path, layers: list[bytes], words: str) -> None:
    """The last layer is refused with one line that says why."""
    apply(root, layers[:-1])

    with pytest.raises(Corrupt, match=words) as caught:
        apply(root, layers[-1:])

    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


# What is harmless once it is confined -------------------------------------------------------------------------------

HARMLESS: dict[str, tuple[list[bytes], dict[str, str]]] = {
    "an absolute name": ([archive(member(b"/etc/passwd", b"x"))], {"etc": "dir", "etc/passwd": "file x"}),
    "many slashes and dots": (
        [archive(member(b".//./a///b/./c", b"x"))],
        {"a": "dir", "a/b": "dir", "a/b/c": "file x"},
    ),
    "an absolute hard link": ([archive(FILE, hardlink(b"x", b"/file"))], {"file": "file mine", "x": "file mine"}),
    "a link outside that nobody follows": ([archive(symlink(b"l", b"../outside"))], {"l": "-> ../outside"}),
    "a file through a relative link": (
        [archive(symlink(b"l", b"../../outside"), member(b"l/secret", b"x"))],
        {"l": "-> ../../outside", "outside": "dir", "outside/secret": "file x"},
    ),
    "a file through an absolute link": (
        [archive(symlink(b"l", b"/outside"), member(b"l/secret", b"x"))],
        {"l": "-> /outside", "outside": "dir", "outside/secret": "file x"},
    ),
    "a file through a link of a lower layer": (
        [archive(symlink(b"l", b"/outside")), archive(member(b"l/secret", b"x"))],
        {"l": "-> /outside", "outside": "dir", "outside/secret": "file x"},
    ),
    "a file through links to links": (
        [archive(symlink(b"a", b"b/c"), symlink(b"b", b"/.."), symlink(b"c", b".."), member(b"a/x", b"x"))],
        {"a": "-> b/c", "b": "-> /..", "c": "-> ..", "x": "file x"},
    ),
    "a file in the place of a link": (
        [archive(symlink(b"l", b"../outside/secret"), member(b"l", b"x"))],
        {"l": "file x"},
    ),
    "a directory in the place of a link": (
        [archive(symlink(b"l", b"../outside")), archive(directory(b"l", mode=0o777), member(b"l/x", b"x"))],
        {"l": "dir", "l/x": "file x"},
    ),
    "a link in the place of a directory": (
        [archive(DIR, member(b"dir/x"), symlink(b"dir", b"/outside"), member(b"dir/secret", b"x"))],
        {"dir": "-> /outside", "outside": "dir", "outside/secret": "file x"},
    ),
    "a link in the place of an opened parent": (
        [archive(member(b"a/b/c/f", b"1"), header(b"a/b", b"2", link=b"/outside"), member(b"a/b/c/f", b"2"))],
        {"a": "dir", "a/b": "-> /outside", "outside": "dir", "outside/c": "dir", "outside/c/f": "file 2"},
    ),
    "a hard link through a link": (
        [archive(symlink(b"l", b"/"), member(b"outside/secret", b"x"), hardlink(b"h", b"l/outside/secret"))],
        {"h": "file x", "l": "-> /", "outside": "dir", "outside/secret": "file x"},
    ),
    "a hard link to a link outside": (
        [archive(symlink(b"l", b"../outside/secret"), hardlink(b"h", b"l"), member(b"h", b"x"))],
        {"h": "file x", "l": "-> ../outside/secret"},
    ),
    "a whiteout through a link": (
        [archive(symlink(b"l", b"../outside")), archive(header(b"l/.wh.secret"))],
        {"l": "-> ../outside"},
    ),
    "an opaque whiteout through a link": (
        [archive(symlink(b"l", b"../outside")), archive(header(b"l/.wh..wh..opq"))],
        {"l": "-> ../outside"},
    ),
    "a whiteout of a link": ([archive(symlink(b"l", b"../outside")), archive(header(b".wh.l"))], {}),
    "a whiteout that is a link": ([archive(FILE), archive(symlink(b".wh.file", b"../outside/secret"))], {}),
    "a whiteout with content": ([archive(FILE), archive(member(b".wh.file", b"x" * 5000), DIR)], {"dir": "dir"}),
    "a whiteout of a directory that holds links outside": (
        [archive(DIR, symlink(b"dir/l", b"../../outside"), symlink(b"dir/m", b"/")), archive(header(b".wh.dir"))],
        {},
    ),
    "a whiteout before and after": (
        [archive(FILE), archive(header(b".wh.file"), member(b"file", b"new"), header(b".wh.file"))],
        {"file": "file new"},
    ),
    "a whiteout in a directory that is not there": ([archive(DIR), archive(header(b"no/where/.wh.x"))], {"dir": "dir"}),
    "AUFS notes": (
        [archive(directory(b".wh..wh.plnk"), member(b".wh..wh.plnk/1.2", b"x"), header(b".wh..wh.aufs"))],
        {},
    ),
    "a device": ([archive(FILE, header(b"file", b"3", major=1, minor=3))], {}),
    "an overlay whiteout": ([archive(FILE), archive(header(b"file", b"3"))], {}),
    "a hard link to a device": ([archive(header(b"d", b"4", major=8), hardlink(b"e", b"d"))], {}),
    "a FIFO": ([archive(FILE, header(b"file", b"6"))], {"file": "fifo"}),
    "one name four times": (
        [archive(FILE, DIR, member(b"dir/x"), symlink(b"file", b"x"), directory(b"file"), member(b"file", b"last"))],
        {"dir": "dir", "dir/x": "file ", "file": "file last"},
    ),
    "a name that ends in a slash": ([archive(member(b"file/", b"x"))], {"file": "file x"}),
    "a directory with a size": ([archive(header(b"dir", b"5", 4096), FILE)], {"dir": "dir", "file": "file mine"}),
    "a link with a size": (
        [archive(FILE, header(b"l", b"1", 9, link=b"file"))],
        {"file": "file mine", "l": "file mine"},
    ),
    "a global header": ([archive(pax((b"path", b"../x"), kind=b"g"), FILE)], {"file": "file mine"}),
    "data after the end": ([archive(FILE) + b"more" * 1000], {"file": "file mine"}),
    "no end": ([FILE], {"file": "file mine"}),
    "nothing": ([b""], {}),
    "a newline in a name": ([archive(member(b"a\nb", b"x"))], {"a\nb": "file x"}),
}


@pytest.mark.parametrize(("layers", "tree"), HARMLESS.values(), ids=HARMLESS.keys())
def test_a_hostile_layer_stays_inside(root: Path, layers: list[bytes], tree: dict[str, str]) -> None:
    """The layers become exactly this tree."""
    apply(root, layers)

    assert tars.seen(root) == tree


def test_links_by_absolute_path_stay_inside(root: Path) -> None:
    """The path of the canary itself, as target of a link, is a path inside the root."""
    target = escape(root)

    apply(root, [archive(symlink(b"l", target), member(b"l/secret", b"x"), header(b"l/.wh.inner"))])

    assert (root / os.fsdecode(target).lstrip("/") / "secret").read_text() == "x"


def test_links_by_absolute_path_do_not_link_files(root: Path) -> None:
    """A hard link through a link to the canary finds nothing."""
    with pytest.raises(Corrupt, match="does not exist"):
        apply(root, [archive(symlink(b"l", escape(root)), hardlink(b"h", b"l/secret"))])


def test_a_time_beyond_64_bits_is_the_epoch(root: Path) -> None:
    """Times that no file system holds are zero, as in containerd; the layer is not refused for them."""
    apply(root, [archive(member(b"a", mtime=b"\x80" + b"\x7f" * 11), pax((b"mtime", b"99999999999999")), member(b"b"))])

    assert [(root / name).stat().st_mtime for name in "ab"] == [0, 0]


# Bombs --------------------------------------------------------------------------------------------------------------


def test_a_bomb_is_stopped_by_its_ratio(root: Path) -> None:
    """A layer that grows a thousandfold ends long before it is unpacked."""
    bomb = zlib.compress(archive(member(b"zeros", bytes(64 << 20))), wbits=31)

    with pytest.raises(Corrupt, match="200-fold"):
        tars.unpack(root, bomb, tars.digest(b""), Limits(allowance=4 << 20))

    assert (root / "zeros").stat().st_size < 24 << 20


def test_a_layer_is_stopped_by_its_size(root: Path) -> None:
    """Also one that is not compressed."""
    with pytest.raises(Corrupt, match="more than 1048576 bytes"):
        apply(root, [archive(member(b"f", bytes(4 << 20)))], Limits(size=1 << 20))


def test_a_layer_is_stopped_by_its_entries(root: Path) -> None:
    """Directories that are made on the way count too."""
    deep = b"/".join(b"%d" % number for number in range(20)) + b"/"

    with pytest.raises(ImageError, match="more than 30 entries"):
        apply(root, [archive(member(b"a/" + deep), member(b"b/" + deep))], Limits(entries=30))


def test_a_sparse_file_may_be_huge(root: Path) -> None:
    """A hole of a terabyte costs nothing and stays one."""
    size = b"%d" % (1 << 40)

    apply(root, [archive(pax((b"GNU.sparse.size", size), (b"GNU.sparse.map", b"0,4," + size + b",0")), FILE)])

    found = (root / "file").stat()
    assert (found.st_size, found.st_blocks < 2000) == (1 << 40, True)  # UFS: three indirect blocks of 32 KB each


def test_a_repeated_opaque_whiteout_is_cheap(root: Path) -> None:
    """Ten thousand of them do not walk what the layer has put there ten thousand times."""
    apply(root, [archive(DIR, member(b"dir/old"))])
    files = [member(b"dir/%d" % number) for number in range(1000)]

    apply(root, [archive(*files, *[header(b"dir/.wh..wh..opq")] * 10_000)])

    assert len(os.listdir(root / "dir")) == 1000
