"""Layers in the shapes that archivers, compressors and builders have left behind. See shapes.py."""

import bz2
import gzip
import io
import tarfile
from collections.abc import Callable

import pytest

from runjail.image import media_types
from runjail.image.model import Descriptor
from tests.support.image.images import Layout, compress, digest_of, link, tar
from tests.support.image.shapes import Shape, manifest
from tests.support.image.tars import NULLS, header, padded

OLD, NEW = b"of below\n", b"of above\n"
HELLO = {"hello": "world\n"}
Make = Callable[[Layout], object]


def layered(*tars: bytes, blobs: "list[tuple[bytes, str]] | None" = None) -> Make:
    """Return what makes an image of these archives. blobs: the layers' content and types, instead of gzip's."""

    def make(layout: Layout) -> None:
        given = blobs or [(gzip.compress(content, mtime=0), "gzip") for content in tars]
        layers = [layout.blob(content, media_types.oci_layer(kind)) for content, kind in given]
        layout.name("t", manifest(layout, config(layout, *tars), layers))

    return make


def config(layout: Layout, *tars: bytes) -> Descriptor:
    """Add a config of these archives."""
    body = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/hello"]}}
    diff_ids = [digest_of(content) for content in tars]
    return layout.document({**body, "rootfs": {"type": "layers", "diff_ids": diff_ids}}, media_types.OCI_CONFIG)


def entry(name: str, content: bytes = b"", kind: bytes = b"0", **fields: "int | bytes") -> bytes:
    """Return a header with its content."""
    return header(name.encode(), kind, len(content), **fields) + padded(content)


def raw(*entries: bytes, end: bytes = NULLS) -> Make:
    """Return what makes an image of one archive of these entries."""
    return layered(b"".join(entries) + end)


def zstd(*parts: bytes) -> bytes:
    """Return frames of zstd, one after the other."""
    return b"".join(pytest.importorskip("backports.zstd").compress(part) for part in parts)


def skippable(content: bytes) -> bytes:
    """Return a frame that decompressors pass over (RFC 8878, 3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def chunked(layout: Layout) -> None:
    """zstd:chunked: a frame for each piece, then a table of contents where plain zstd sees nothing."""
    content = tar(HELLO)
    blob = zstd(content[:512], content[512:]) + skippable(zstd(b'{"version":1,"entries":[]}')) + skippable(bytes(40))
    layered(content, blobs=[(blob, "zstd")])(layout)


def stargz(layout: Layout) -> None:
    """eStargz: a member of gzip for each entry, a landmark, and the table of contents as the last file."""
    content = tar({".no.prefetch.landmark": "\x0f", **HELLO, "stargz.index.json": '{"version":1,"entries":[]}'})
    pieces = [content[at : at + 1024] for at in range(0, len(content), 1024)]
    footer = gzip.compress(b"", mtime=0)
    layered(content, blobs=[(b"".join(gzip.compress(piece, mtime=0) for piece in pieces) + footer, "gzip")])(layout)


def named_gzip(layout: Layout) -> None:
    """gzip(1) writes the file's name and time; builders of Java add a field of their own."""
    content = tar(HELLO)
    out = io.BytesIO()
    with gzip.GzipFile("layer.tar", "wb", fileobj=out, mtime=1) as file:
        file.write(content)
    plain = out.getvalue()
    extra = plain[:3] + bytes([plain[3] | 4]) + plain[4:10] + b"\x04\x00cafe" + plain[10:]
    layered(content, blobs=[(extra, "gzip")])(layout)


def pax(headers: dict[str, str], name: str = "hello", kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """Return an archive of one file with records of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.pax_headers, info.size = kind, headers, 6 if kind == tarfile.REGTYPE else 0
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(b"world\n"))
    return out.getvalue()


def gnu(name: str, target: str = "") -> bytes:
    """Return an archive in GNU's format, with entries of its own for what is too long."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
        archive.addfile(info)
    return out.getvalue()


def global_header() -> bytes:
    """Return what git archive begins with: a record for all that follows."""
    text = b"52 comment=0123456789012345678901234567890123456789\n"
    return header(b"pax_global_header", b"g", len(text)) + padded(text)


TREE = {"lib": link("usr/lib"), "usr": None, "usr/lib": None, "usr/lib/old": "x"}
LAYERS: dict[str, Shape] = {
    "no compression, as nix and bazel may": Shape(layered(tar(HELLO), blobs=[(tar(HELLO), "")])),
    "zstd": Shape(lambda layout: layered(tar(HELLO), blobs=[(zstd(tar(HELLO)), "zstd")])(layout)),
    "zstd:chunked": Shape(chunked),
    "eStargz": Shape(stargz),
    "gzip with a name and an extra field": Shape(named_gzip),
    "gzip in members": Shape(
        layered(tar(HELLO), blobs=[(gzip.compress(tar(HELLO)[:700]) + gzip.compress(tar(HELLO)[700:]), "gzip")])
    ),
    "zeros after gzip": Shape(layered(tar(HELLO), blobs=[(gzip.compress(tar(HELLO)) + bytes(512), "gzip")])),
    "gzip that says it is none": Shape(layered(tar(HELLO), blobs=[(gzip.compress(tar(HELLO)), "")])),
    "none that says it is gzip": Shape(layered(tar(HELLO), blobs=[(tar(HELLO), "gzip")])),
    "bzip2 of 2014": Shape(layered(tar(HELLO), blobs=[(bz2.compress(tar(HELLO)), "")])),
    "xz of 2014": Shape(layered(tar(HELLO), blobs=[(compress(tar(HELLO), "xz"), "")])),
    "an empty layer": Shape(layered(NULLS, tar(HELLO))),
    "a layer of no bytes": Shape(layered(b"", tar(HELLO))),
    "the same layer twice": Shape(layered(tar(HELLO), tar(HELLO))),
    "no zeros at the end": Shape(raw(entry("hello", b"world\n"), end=b"")),
    "one block of zeros at the end": Shape(raw(entry("hello", b"world\n"), end=bytes(512))),
    "zeros to the next tape block": Shape(raw(entry("hello", b"world\n"), end=bytes(10240))),
    "something behind the end": Shape(raw(entry("hello", b"world\n"), end=NULLS + b"x" * 512)),
    "the seventh Unix's tar": Shape(raw(entry("hello", b"world\n", b"\0", magic=bytes(8)))),
    "a directory by its slash": Shape(raw(entry("etc/", b"", b"\0", magic=bytes(8), mode=0o755))),
    "a name in two parts": Shape(raw(entry("hello", b"world\n", prefix=b"usr/share/a"), entry("x", b""))),
    "GNU's long name": Shape(layered(gnu("d/" + "n" * 150))),
    "GNU's long target": Shape(layered(gnu("hello", "t" * 150))),
    "owners beyond octal": Shape(raw(entry("hello", b"world\n", uid=b"\x80\0\0\0\x7f\xff\xff\xfe"))),
    "mode with the type of the file": Shape(raw(entry("hello", b"world\n", mode=0o100644))),
    "set-uid and sticky": Shape(raw(entry("su", b"x", mode=0o4755), entry("tmp/", kind=b"5", mode=0o1777))),
    "a time before 1970": Shape(layered(pax({"mtime": "-1000.5"}))),
    "a time with nanoseconds": Shape(layered(pax({"mtime": "1600000000.123456789"}))),
    "a name in UTF-8": Shape(layered(pax({}, "größe"))),
    "a name in Latin-1": Shape(raw(header(b"gr\xf6\xdfe", b"0", 0))),
    "names with blanks and newlines": Shape(layered(tar({"a b": "1", "c\nd": "2", " ": "3"}))),
    "extended attributes": Shape(layered(pax({"SCHILY.xattr.user.note": "kept"}))),
    "git archive's header": Shape(raw(global_header(), entry("hello", b"world\n"))),
    "unknown records": Shape(layered(pax({"LIBARCHIVE.creationtime": "1", "comment": "c", "MSWINDOWS.rawsd": "x"}))),
    "names that begin with ./": Shape(raw(entry("./", kind=b"5", mode=0o755), entry("./hello", b"world\n"))),
    "names that begin with /": Shape(raw(entry("/hello", b"world\n"))),
    "no directories, as ko and bazel": Shape(layered(tar({"usr/local/bin/app": "x"}))),
    "one name twice": Shape(raw(entry("hello", b"first\n"), entry("hello", b"second\n"))),
    "a directory where a file was": Shape(layered(tar({"a": "x"}), tar({"a": None, "a/b": "y"}))),
    "a file where a directory was": Shape(layered(tar({"a": None, "a/b": "y"}), tar({"a": "x"}))),
    "a link where a directory was": Shape(layered(tar({"a": None, "a/b": "y"}), tar({"a": link("c"), "c": None}))),
    "through a link of below": Shape(layered(tar(TREE), tar({"lib/new": "x"}))),
    "a whiteout of nothing": Shape(layered(tar(HELLO), tar({".wh.none": "", "d/.wh.none": ""}))),
    "an opaque directory, said last": Shape(
        layered(tar({"d": None, "d/old": "x"}), tar({"d": None, "d/new": "y", "d/.wh..wh..opq": ""}))
    ),
    "a whiteout and a file of one layer": Shape(
        layered(tar({"d": None, "d/a": "x"}), tar({"d": None, "d/.wh.a": "", "d/a": "y"}))
    ),
    "a hard link to below": Shape(layered(tar(HELLO), tar({"again": link("hello", tarfile.LNKTYPE)}))),
    "a hard link to /": Shape(layered(tar({**HELLO, "again": link("/hello", tarfile.LNKTYPE)}))),
    "a hard link to a link": Shape(layered(tar({"l": link("hello"), "again": link("l", tarfile.LNKTYPE)}))),
    "a hard link to nothing": Shape(layered(tar({"again": link("none", tarfile.LNKTYPE)}))),
    "links in a ring": Shape(layered(tar({"a": link("b"), "b": link("a"), **HELLO}))),
    "a link out of it": Shape(layered(tar({"out": link("../../../etc"), "up": link("/etc/passwd")}))),
    "a FIFO": Shape(raw(entry("fifo", kind=b"6"))),
    "a device": Shape(raw(entry("null", kind=b"3", major=b"0000001\0", minor=b"0000003\0", mode=0o666))),
    "a file that is contiguous": Shape(raw(entry("hello", b"world\n", b"7"))),
    "an entry of no known type": Shape(raw(entry("odd", b"x", b"Z"), entry("hello", b"world\n"))),
    "a name that leads out": Shape(raw(entry("../out", b"x"))),
    "a name that leads out and in": Shape(raw(entry("a/../../hello", b"world\n"))),
}
