"""umoci, containerd and runjail make the same tree of the same image: owner, mode, time, links, attributes, content."""

import hashlib
import os
import random
import stat
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.image.layers import layer
from tests.support.image import oci, tars
from tests.support.image.tars import header, padded, pax

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.needs("linux"),
]
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2711, 0o6555, 0o1666, 0)


class Writer:
    """Writes a layer's archive with every kind of entry, at random but always the same."""

    def __init__(self, seed: int) -> None:
        self.random, self.parts, self.said = random.Random(seed), list[bytes](), dict[bytes, bytes]()

    def add(self, name: bytes, kind: bytes = b"0", content: bytes = b"", link: bytes = b"", **more: int) -> None:
        """Add an entry with an owner, a time and sometimes attributes of its own; a hard link has its file's."""
        source = self.random
        if kind == b"1":
            source = random.Random(self.said[link])
        else:
            self.said[name] = b"%d" % source.randrange(2**32)
            source = random.Random(self.said[name])
        extra = [(b"mtime", b"%d.%09d" % (source.randrange(2**31), source.randrange(10**9)))]
        if len(link) > 100:
            extra.append((b"linkpath", link))
        if len(name) > 100 or extra[0][1].endswith(b"7"):
            extra.append((b"path", name))
        owner = {"uid": source.choice([0, 7, 1000, 65534]), "gid": source.choice([0, 8, 1000])}
        mode = more.pop("mode", source.choice(MODES))
        if kind in (b"0", b"1", b"5") and source.random() < 0.1:
            extra.append((b"SCHILY.xattr.user.origin", source.randbytes(30)))
        if kind in (b"0", b"1") and source.random() < 0.02:
            extra.append((b"SCHILY.xattr.security.capability", CAPABILITY))
        self.parts.append(pax(*extra) + header(name, kind, len(content), link=link[:100], mode=mode, **owner, **more))
        self.parts.append(padded(content))

    def directory(self, name: bytes) -> None:
        self.add(name + b"/", b"5", mode=self.random.choice([0o755, 0o700, 0o1777, 0o2775]))

    def file(self, name: bytes) -> None:
        self.add(name, content=self.random.randbytes(int(self.random.expovariate(0.001)) % 200_000))

    def sparse(self, name: bytes) -> None:
        """Add a file of a megabyte that is mostly holes."""
        where = [(b"GNU.sparse.size", b"1048576"), (b"GNU.sparse.map", b"0,512,524288,512,1048576,0")]
        where += [(b"GNU.sparse.numblocks", b"3"), (b"GNU.sparse.name", name), (b"mtime", b"77.5")]
        self.parts += [pax(*where), header(b"sparse", size=1024), self.random.randbytes(1024)]

    def archive(self) -> bytes:
        return tars.archive(*self.parts)


def make_layers(files: int) -> list[bytes]:
    """Return three layers: the base, one that changes and hides, and one that does so again."""
    base = Writer(1)
    base.directory(b".")
    directories = [b"usr", b"usr/lib", b"etc", b"var", b"caf\xc3\xa9", b"long" * 30, b"usr/" + b"deep/" * 30]
    directories = [part for name in directories for part in _with_parents(name)]
    directories += [b"usr/d%d" % number for number in range(files // 20)]
    directories = list(dict.fromkeys(directories))
    for name in directories:
        base.directory(name)
    names = [b"%s/file%d" % (base.random.choice(directories), number) for number in range(files)]
    for number, name in enumerate(names):
        base.file(name)
        if number % 9 == 0:
            base.add(
                name + b".link", b"2", link=base.random.choice([b"/etc/x", b"../" * 3 + b"up", b"t" * 150, b"file1"])
            )
        if number % 11 == 0:
            base.add(name + b".hard", b"1", link=name)
        if number % 97 == 0:
            base.add(name + b".fifo", b"6")
    base.sparse(b"var/sparse")
    base.add(b"lib", b"2", link=b"usr/lib")
    return [base.archive(), _second(names), _third(names)]


def _with_parents(name: bytes) -> list[bytes]:
    parts = name.strip(b"/").split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _second(names: list[bytes]) -> bytes:
    """Change, replace, hide and link; each directory on the way is named, and each linked file, as builders do.

    containerd needs both: it applies a layer to a directory of its own, where what lies below is not to be seen.
    """
    layer = Writer(2)
    seen: set[bytes] = set()
    plain = [name for name in names if b"long" not in name and name.startswith(b"usr/d") and b"deep" not in name]
    for number, name in enumerate(plain[::4]):
        above, _, last = name.rpartition(b"/")
        for parent in (b".", *_with_parents(above)):
            if parent not in seen:
                seen.add(parent)
                layer.directory(parent)
        if number % 5 == 0:
            layer.add(above + b"/.wh." + last, mode=0)
        elif number % 5 == 1:
            layer.add(name, b"2", link=b"replaced")
        elif number % 5 == 2:
            layer.file(name)
            layer.add(name + b".more", b"1", link=name)
        elif number % 5 == 3:
            layer.file(name)
    layer.directory(b"etc")
    layer.add(b"etc/.wh..wh..opq", mode=0)
    layer.file(b"etc/fresh")
    layer.directory(b"usr/lib")
    layer.file(b"usr/lib/through")
    return layer.archive()


def _third(names: list[bytes]) -> bytes:
    """Replace a file by a directory, a directory by a file, and a link by a directory."""
    layer = Writer(3)
    layer.directory(b".")
    layer.add(b"var", content=b"was a directory")
    layer.directory(b"etc")
    layer.directory(b"etc/fresh")
    layer.file(b"etc/fresh/inside")
    layer.directory(b"lib")
    layer.file(b"lib/own")
    layer.directory(b"usr")
    layer.add(b"usr/.wh.deep", mode=0)
    return layer.archive()


class Image:
    """An image on disk, and the tree that runjail makes of it."""

    def __init__(self, top: Path, files: int) -> None:
        self.top, self.blobs = top, list[tuple[Path, str]]()
        for number, content in enumerate(make_layers(files)):
            path = top / f"layer{number}"
            path.write_bytes(zlib.compress(content, 1, wbits=31))
            self.blobs.append((path, f"sha256:{hashlib.sha256(content).hexdigest()}"))
        self.packed = oci.write_layout(top / "layout", self.blobs, "application/vnd.oci.image.layer.v1.tar+gzip")
        self.root = top / "runjail"
        self.root.mkdir()
        for path, diff_id in self.blobs:
            file = os.open(path, os.O_RDONLY)
            try:
                assert layer.unpack(file, str(self.root), diff_id).warnings == ()
            finally:
                os.close(file)
        self.tree = tars.exactly(self.root)

    def differences(self, other: Path, *, overlay: bool = False) -> dict[str, object]:
        """Return what is not the same in another tree.

        overlay: it is an overlayfs of containerd's, which passes over what a layer says about the root, and where a
        file counts names that another layer hides. Which names share a file is compared all the same.
        """
        trees = [dict(self.tree), tars.exactly(other)]
        if overlay:
            trees = [{name: (*f[:4], *f[5:]) for name, f in tree.items() if name != "."} for tree in trees]
        ours, theirs = trees
        names = sorted(ours.keys() | theirs.keys())
        return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}


@pytest.fixture(
    name="image",
    scope="module",
    params=[pytest.param(2_500, id="some"), pytest.param(8_000, id="many", marks=pytest.mark.slow)],
)
def _image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    yield Image(tmp_path_factory.mktemp("image"), request.param)


def test_the_image_has_what_it_should(image: Image) -> None:
    """Or agreement would say little: each kind of entry, change and attribute is in it."""
    kinds = {stat.S_IFMT(int(str(found[0]))) for found in image.tree.values()}
    xattrs = {key for found in image.tree.values() for key, _ in found[7]}  # type: ignore[attr-defined]

    assert len(kinds) == 4, "directories, files, links, FIFOs"
    assert xattrs == {"user.origin", "security.capability"}
    assert sum(int(str(found[4])) > 1 for found in image.tree.values()) > 200, "files with several names"
    assert {"etc/fresh/inside", "lib/own", "usr/lib/through", "var"} < image.tree.keys()
    assert not any(name.startswith(("usr/deep", "var/")) or ".wh." in name for name in image.tree)


@pytest.mark.peers("umoci")
def test_umoci_agrees(image: Image) -> None:
    """Every entry is the same to the nanosecond."""
    bundle = image.top / "umoci"
    words = ["umoci", "unpack", "--image", f"{image.top / 'layout'}:latest", str(bundle)]

    subprocess.run(words, check=True, capture_output=True)

    assert image.differences(bundle / "rootfs") == {}


@pytest.mark.needs("containerd", "ctr", "mounts")
def test_containerd_agrees(image: Image) -> None:
    """Imported by ctr, and looked at through a mount of its snapshot."""
    with oci.Containerd(image.top / "containerd") as containerd:
        containerd.ok("image", "import", str(image.packed))
        mounted = containerd.mount(image.top / "mounted")

        assert image.differences(mounted, overlay=True) == {}
