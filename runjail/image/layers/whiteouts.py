"""Whiteouts: what a layer hides of the layers below it (image-spec, layer.md, Whiteouts).

They never touch what their own layer has put there, before them or after, whatever the order of the archive. So what
the layer puts is remembered, as names by directory; in a directory that it has made there is nothing else.
"""

from __future__ import annotations

import os
import stat

from runjail.errors import Corrupt
from runjail.image.layers.tree import Tree, join

PREFIX, OPAQUE = b".wh.", b".wh..wh..opq"
_AUFS = b".wh..wh."  # metadata of aufs, e.g. .wh..wh.plnk: no whiteouts


class Whiteouts:
    """The whiteouts of one layer."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        nothing_below = not os.listdir(tree.directory(b""))
        # None: not needed without lower layers
        self._own_entries: dict[bytes, set[bytes]] | None = None if nothing_below else {}
        self._cleared: set[bytes] = set()
        self._new: set[bytes] = set()  # directories that this layer has made

    def made(self, real: bytes) -> None:
        """Remember a directory that this layer has made, and that is marked: nothing of layers below is in it."""
        if self._own_entries is not None:
            self._new.add(real)

    def mark(self, real: bytes, name: bytes) -> None:
        """Remember that this layer has put an entry into a directory, and so the directory too."""
        if self._own_entries is None or real in self._new:
            return
        names = self._own_entries.get(real)
        if names is None:
            names = self._own_entries[real] = set()
            if real:
                parent, _, last = real.rpartition(b"/")
                self.mark(parent, last)
        names.add(name)

    def apply(self, path: bytes) -> bool:
        """Do what an entry says if it is a whiteout. Returns False if it is an ordinary entry. Raises Corrupt."""
        if PREFIX not in path:
            return False
        *parents, name = path.split(b"/")
        if any(part.startswith(_AUFS) and part != OPAQUE for part in (*parents, name)):
            return True
        if any(part.startswith(PREFIX) for part in parents):
            raise Corrupt("a whiteout cannot be a directory")
        if not name.startswith(PREFIX):
            return False
        hidden = name.removeprefix(PREFIX)
        if hidden in (b"", b".", b".."):
            raise Corrupt("a whiteout of nothing, or of its own directory")
        real = self._tree.resolve(b"/".join(parents), making=False)
        if real is not None and self._own_entries is not None:
            self._hide_all(real) if name == OPAQUE else self._hide(real, hidden)
        return True

    def _hide(self, real: bytes, name: bytes) -> None:
        if real in self._new:
            return
        try:
            if self._own_entries is None or name not in self._own_entries.get(real, ()):
                self._tree.remove(real, name)
                return
            found = os.stat(name, dir_fd=self._tree.directory(real), follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            self._hide_all(join(real, name))

    def _hide_all(self, real: bytes) -> None:
        if real in self._cleared or real in self._new:  # the first time it took everything from below away
            return
        self._cleared.add(real)
        for name in os.listdir(self._tree.directory(real)):
            self._hide(real, os.fsencode(name))
