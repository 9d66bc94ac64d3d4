"""Whiteouts hide what lower layers have, and nothing else."""

import gc
from pathlib import Path

import pytest

from tests.support.image import tars
from tests.support.image.tars import archive, directory, header, member, unpack

pytestmark = pytest.mark.needs("root")

OURS = ("runjail.attributes", "runjail.image.layers", "runjail.rootfs")  # what unpacks
LOWER = archive(directory(b"d"), member(b"d/a"), directory(b"d/e"), member(b"d/e/b"), member(b"d/e/c"))
UNCHANGED = {"d": "dir", "d/a": "file ", "d/e": "dir", "d/e/b": "file ", "d/e/c": "file "}
CASES: dict[str, tuple[list[bytes], dict[str, str]]] = {
    "a file": ([header(b"d/.wh.a")], {"d": "dir", "d/e": "dir", "d/e/b": "file ", "d/e/c": "file "}),
    "a directory": ([header(b"d/.wh.e")], {"d": "dir", "d/a": "file "}),
    "everything": ([header(b"d/.wh..wh..opq")], {"d": "dir"}),
    "the whole root": ([header(b".wh..wh..opq")], {}),
    "nothing that is there": ([header(b"d/.wh.x")], UNCHANGED),
    "opaque first": ([header(b"d/.wh..wh..opq"), member(b"d/n", b"1")], {"d": "dir", "d/n": "file 1"}),
    "opaque last": ([member(b"d/n", b"1"), header(b"d/.wh..wh..opq")], {"d": "dir", "d/n": "file 1"}),
    "opaque above": (
        [member(b"d/e/n", b"1"), header(b".wh..wh..opq")],
        {"d": "dir", "d/e": "dir", "d/e/n": "file 1"},
    ),
    "replaced, then hidden": ([member(b"d/a", b"1"), header(b"d/.wh.a")], {**UNCHANGED, "d/a": "file 1"}),
    "hidden, then replaced": ([header(b"d/.wh.a"), member(b"d/a", b"1")], {**UNCHANGED, "d/a": "file 1"}),
    "a directory of both layers": (
        [directory(b"d/e"), member(b"d/e/n", b"1"), header(b"d/.wh.e")],
        {"d": "dir", "d/a": "file ", "d/e": "dir", "d/e/n": "file 1"},
    ),
    "a directory that only holds an entry of ours": (
        [member(b"d/e/n", b"1"), header(b".wh.d")],
        {"d": "dir", "d/e": "dir", "d/e/n": "file 1"},
    ),
    "hidden, then made anew": (
        [header(b".wh.d"), member(b"d/n", b"1"), header(b".wh.d")],
        {"d": "dir", "d/n": "file 1"},
    ),
    "in a directory of its own": (
        [directory(b"n"), member(b"n/f", b"1"), header(b"n/.wh.f"), header(b"n/.wh..wh..opq"), header(b".wh.n")],
        {**UNCHANGED, "n": "dir", "n/f": "file 1"},
    ),
    "in directories that it only implies": (
        [member(b"d/n/o/f", b"1"), header(b"d/n/.wh.o"), header(b"d/.wh.n"), header(b".wh..wh..opq")],
        {"d": "dir", "d/n": "dir", "d/n/o": "dir", "d/n/o/f": "file 1"},
    ),
    "in a directory that is made anew": (
        [header(b".wh.d"), directory(b"d"), member(b"d/a", b"1"), header(b"d/.wh.a"), header(b"d/.wh.e")],
        {"d": "dir", "d/a": "file 1"},
    ),
    "a directory in place of a file": (
        [directory(b"d/a"), member(b"d/a/x", b"1"), header(b"d/.wh.a")],
        {**UNCHANGED, "d/a": "dir", "d/a/x": "file 1"},
    ),
    "a file in place of a directory of its own": (
        [directory(b"d/n"), member(b"d/n/x"), member(b"d/n", b"1"), header(b"d/.wh.n"), header(b"d/.wh.a")],
        {"d": "dir", "d/e": "dir", "d/e/b": "file ", "d/e/c": "file ", "d/n": "file 1"},
    ),
    "what looks almost like one": ([member(b"wh.a", b"1")], {**UNCHANGED, "wh.a": "file 1"}),
    "a name that only contains it": ([member(b"d/a.wh.b", b"1")], {**UNCHANGED, "d/a.wh.b": "file 1"}),
}


@pytest.mark.parametrize(("parts", "tree"), CASES.values(), ids=CASES.keys())
def test_whiteouts_hide_lower_layers_only(root: Path, parts: list[bytes], tree: dict[str, str]) -> None:
    """In any order, and the markers never appear."""
    unpack(root, LOWER)

    unpack(root, archive(*parts))

    assert tars.seen(root) == tree


def test_whiteouts_in_the_lowest_layer_hide_nothing(root: Path) -> None:
    """There is nothing below."""
    unpack(root, archive(member(b"d/a"), header(b"d/.wh.a"), header(b"d/.wh..wh..opq"), header(b".wh.d")))

    assert tars.seen(root) == {"d": "dir", "d/a": "file "}


def test_nothing_of_a_layer_stays_without_a_collector(root: Path) -> None:
    """Verbs have none: what knows each other would stay until the end, with a piece of each layer."""
    unpack(root, LOWER)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        unpack(root, archive(header(b"d/.wh.a"), member(b"d/n", b"1" * 100_000)))
        gc.collect()
        kinds = {type(found).__module__ for found in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert not {kind for kind in kinds if kind.startswith(OURS)}  # another test's thread may leave what is its own
