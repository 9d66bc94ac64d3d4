"""The store of plain directories, for systems without ZFS and overlayfs.

    PATH/layers/HEX/root       a layer with all below it, files linked from the layer below
    PATH/containers/NAME/root  a copy of it

Linked files are one file in all layers: base.py says what that asks of whoever fills a draft.
"""

from __future__ import annotations

from runjail.storage.base import LayerWriter, RootfsUse
from runjail.storage.directory_layout import DirectoryLayout
from runjail.storage.store_lock import Lock
from runjail.storage.tree_store import TreeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.storage.base import Report
    from runjail.storage.changes import Change


def open_at(place: str, *, default: str, make: bool, warn: Report) -> DirectoryStore:
    """Open the store in a directory: see open.DRIVERS. Raises StorageError, StoreNotFound."""
    return DirectoryStore(place, warn, make=make)


def suits(default: str, holds: str) -> tuple[str, str]:
    """Return the store in the default directory: what `auto` takes where nothing else suits."""
    return f"dir:{default}", "layers are there already" if holds == "dir" else ""


class DirectoryStore(TreeStore):
    """A store whose layers are whole trees."""

    kind = "dir"
    apart = False

    def _begin(self, making: str, place: str, below: str, facts: dict[str, Any], locks: list[Lock]) -> LayerWriter:
        try:
            self._places.fresh(making, "root")
            shared = self._places.link(below, making) if below else set()
        except BaseException:
            self._places.discard(making)
            raise
        return DirectoryDraft(self._places, making, place, facts, shared, locks)

    def _fill(self, making: str, layer: str, use: RootfsUse) -> dict[str, Any]:
        self._places.fresh(making, "root")
        report, total = use.report, (self._places.document(layer, "layer.json") or {}).get("total", 0)
        told = (lambda count: report(count, total)) if report else None
        return {"size": self._places.copy(layer, making, told)}

    def _changes(self, place: str, layer: str) -> list[Change]:
        from runjail.storage.changes import of_trees

        return of_trees(f"{layer}/root", f"{place}/root")

    def _show(self, place: str, layer: str, use: RootfsUse) -> None:
        """Do nothing: the files are there already."""


class DirectoryDraft(LayerWriter):
    """A layer in the making: a directory below `making`."""

    def __init__(
        self,
        places: DirectoryLayout,
        making: str,
        place: str,
        facts: dict[str, Any],
        shared: set[int],
        locks: list[Lock],
    ) -> None:
        super().__init__(f"{making}/root", *locks)
        self._places, self._making, self._place = places, making, place
        self._facts, self._shared = facts, shared

    def _keep(self) -> None:
        size, total = self._places.measure(f"{self._making}/root", self._shared)
        facts = {**self._facts, "size": size, "total": total}
        self._places.keep(self._making, self._place, facts, "layer.json", durable=True)

    def _drop(self) -> None:
        self._places.discard(self._making)
