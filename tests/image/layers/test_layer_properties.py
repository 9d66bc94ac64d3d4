"""Properties of unpacking: any tree survives any format, and layers follow the rules of overlays."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from runjail.errors import Corrupt
from tests.support.image import tars

st = pytest.importorskip("hypothesis.strategies", reason="needs hypothesis")
from hypothesis import example, given, settings  # noqa: E402  # after the look whether it is there

pytestmark = pytest.mark.needs("root")

# Any tree through any format ----------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = NAMES.filter(lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 50)
ATTRIBUTES = st.tuples(st.integers(0, 0o7777), st.integers(0, 0o1777777), st.integers(0, 2**33 - 1))
FILES = st.tuples(st.just("file"), st.binary(max_size=2000), ATTRIBUTES)
LINKS = st.tuples(st.just("link"), NAMES, ATTRIBUTES)
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILES, LINKS), max_size=4),
    lambda inner: st.dictionaries(
        NAMES, st.one_of(FILES, LINKS, st.tuples(st.just("dir"), inner, ATTRIBUTES)), max_size=4
    ),
    max_leaves=12,
)


def pack(tree: dict, form: int) -> bytes:
    """Write a tree with Python's tarfile, directories before or after what is in them, by their names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        _pack(tree, "", archive)
    return out.getvalue()


def _pack(tree: dict, above: str, archive: tarfile.TarFile) -> None:
    for name, (kind, content, (mode, owner, mtime)) in tree.items():
        entry = tarfile.TarInfo(above + name)
        entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner // 2, mtime
        entry.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "dir": tarfile.DIRTYPE}[kind]
        entry.linkname = content if kind == "link" else ""
        entry.size = len(content) if kind == "file" else 0
        if kind != "dir":
            archive.addfile(entry, io.BytesIO(content if kind == "file" else b""))
            continue
        before = len(name) % 2
        if before:
            archive.addfile(entry)
        _pack(content, f"{above}{name}/", archive)
        if not before:
            archive.addfile(entry)


def look(directory: str) -> dict:
    """Read a tree back in the form that it was generated in."""
    found = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        status = os.lstat(path)
        content: object
        if os.path.islink(path):
            kind, content = "link", os.readlink(path)
        elif os.path.isdir(path):
            kind, content = "dir", look(path)
        else:
            kind, content = "file", Path(path).read_bytes()
        mode = None if kind == "link" else status.st_mode & 0o7777
        assert status.st_gid == status.st_uid // 2
        found[name] = (kind, content, (mode, status.st_uid, status.st_mtime))
    return found


def expected(tree: dict) -> dict:
    """Forget the modes of links, which Linux does not have and FreeBSD ignores."""
    return {
        name: (kind, expected(content) if kind == "dir" else content, (None if kind == "link" else mode, *rest))
        for name, (kind, content, (mode, *rest)) in tree.items()
    }


@settings(max_examples=60)
@given(tree=TREES, form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
def test_any_tree_survives(tree: dict, form: int) -> None:
    """Names, content, owners, modes and times."""
    with tempfile.TemporaryDirectory() as top:
        root = Path(top, "root")
        root.mkdir()

        tars.unpack(root, pack(tree, form))

        assert look(str(root)) == expected(tree)


# Layers over layers -------------------------------------------------------------------------------------------------

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    st.tuples(st.just("file"), PATHS, st.integers(0, 99).map(str)),
    st.tuples(st.sampled_from(["dir", "whiteout", "opaque"]), PATHS, st.just("")),
    st.tuples(st.just("opaque"), st.just(""), st.just("")),
)


class Model:
    """What layers make of one another, told without ever deleting anything.

    A layer has its own tree and a list of what it hides of the lower one; the visible tree is the union.
    """

    def __init__(self, lower: dict[str, str]) -> None:
        self.lower, self.own = lower, dict[str, str]()

    def visible(self, path: str) -> str | None:
        return "dir" if not path else self.own.get(path, self.lower.get(path))

    def hide(self, path: str, itself: bool) -> None:
        inside = path + "/" if path else ""
        self.lower = {
            name: what
            for name, what in self.lower.items()
            if not (name.startswith(inside) or (itself and name == path))
        }

    def parents(self, path: str) -> list[str]:
        parts = path.split("/")
        return ["/".join(parts[:count]) for count in range(1, len(parts))]

    def add(self, kind: str, path: str, content: str) -> None:
        """Raises Corrupt where something on the way is no directory."""
        ways = [*self.parents(path), path] if kind == "opaque" and path else self.parents(path)
        for parent in ways:
            if (self.visible(parent) or "dir") != "dir":
                raise Corrupt(parent)
        if kind in ("whiteout", "opaque"):
            self.hide(path, itself=kind == "whiteout")
            return
        self.own |= dict.fromkeys(self.parents(path), "dir")
        if kind == "file":
            self.own = {name: what for name, what in self.own.items() if not name.startswith(path + "/")}
        if kind == "file" or self.visible(path) != "dir":
            self.hide(path, itself=True)
        self.own[path] = "dir" if kind == "dir" else f"file {content}"


def written(kind: str, path: str, content: str) -> bytes:
    name, (above, _, last) = path.encode(), path.rpartition("/")
    if kind == "dir":
        return tars.directory(name)
    if kind == "file":
        return tars.member(name, content.encode())
    marker = f"{above}/.wh.{last}" if kind == "whiteout" else f"{path}/.wh..wh..opq"
    return tars.header(marker.lstrip("/").encode())


@settings(max_examples=250)
@given(layers=st.lists(st.lists(ENTRIES, max_size=8), min_size=1, max_size=3))
@example(
    layers=[
        [("file", "a/b", "1")],
        [("dir", "a", ""), ("whiteout", "a", ""), ("file", "a/c", "2"), ("whiteout", "a", "")],
    ]
)
@example(
    layers=[[("file", "a/b/c", "1")], [("file", "a", "2"), ("dir", "a", ""), ("opaque", "a", ""), ("file", "a/b", "3")]]
)
def test_layers_follow_the_model(layers: list[list[tuple[str, str, str]]]) -> None:
    """Whiteouts and opaque whiteouts, in any order, with files and directories replacing one another."""
    tree: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as top:
        root = Path(top, "root")
        root.mkdir()
        for entries in layers:
            content = tars.archive(*[written(*entry) for entry in entries])
            model = Model(tree)
            try:
                for entry in entries:
                    model.add(*entry)
            except Corrupt:
                with pytest.raises(Corrupt, match="no directory"):
                    tars.unpack(root, content)
                return
            tars.unpack(root, content)
            tree = model.lower | model.own

            assert tars.seen(root) == tree
