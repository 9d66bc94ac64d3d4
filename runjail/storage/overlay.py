"""The store of overlays (Linux): a layer holds its own changes, a container's root is a mount.

    PATH/layers/HEX/diff                  what a layer changes of those below, with overlayfs's marks for what it hides
    PATH/containers/NAME/{root,upper,work}  root: where the layers and the container's own files are mounted

The lowest layer is filled in place. The others are filled through a mount of those below, so the kernel itself writes
whiteouts, opaque directories and copies of what is changed; it is unmounted before the commit. Mounts are what is left
when somebody dies, and what is gone after a boot: whoever removes a directory unmounts what is there first.
"""

from __future__ import annotations

import os

from runjail import attributes
from runjail.errors import StorageError, reason
from runjail.host.base import in_user_namespace
from runjail.rootfs import DIRECTORY
from runjail.storage import overlay_mount
from runjail.storage.base import LayerWriter, RootfsUse, chain_name
from runjail.storage.busy import until_free
from runjail.storage.directory_layout import DirectoryLayout
from runjail.storage.overlay_mount import Overlay
from runjail.storage.store_lock import Lock
from runjail.storage.tree_store import TreeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.storage.base import Report
    from runjail.storage.changes import Change

MARKS = "marks"  # in the store's file: which extended attributes tell what is hidden
USER, TRUSTED = "user", "trusted"


def open_at(place: str, *, default: str, make: bool, warn: Report) -> OverlayStore:
    """Open the store in a directory: see open.DRIVERS. Raises StorageError, StoreNotFound."""
    if not overlay_mount.LINUX:
        raise StorageError(f"overlay:{place}: overlayfs is of Linux", "a store here is on ZFS, or dir:/ABSOLUTE/PATH")
    return OverlayStore(place, warn, make=make)


def suits(default: str, holds: str) -> tuple[str, str]:
    """Return the store in the default directory, where overlays can be mounted there."""
    if holds:
        return (f"overlay:{default}", "layers are there already") if holds == OverlayStore.kind else ("", "")
    above = default
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    against = overlay_mount.refusal(above)
    return ("", against) if against else (f"overlay:{default}", "overlayfs works there")


class OverlayPlaces(DirectoryLayout):
    """Directories in which something of ours may be mounted."""

    def free(self, place: str) -> None:
        """Unmount what we mounted. Raises InUse while it is busy, or when there is more."""
        root = f"{place}/root"
        until_free(lambda: overlay_mount.unmount(root), root)
        super().free(place)


class OverlayStore(TreeStore):
    """A store whose layers are changes. Raises StorageError where overlayfs does not work."""

    kind = "overlay"
    apart = True
    labels = True

    def __init__(self, path: str, warn: Report, *, make: bool = True) -> None:
        inside = in_user_namespace()
        self._read: dict[str, dict[str, Any]] = {}  # facts of layers that have one above them: nobody removes them
        super().__init__(path, warn, make=make, facts={MARKS: USER if inside else TRUSTED})
        self._user = self._home.facts.get(MARKS) == USER
        if inside and not self._user:
            why = f"{path} was made outside of this user namespace, where what layers hide cannot be read"
            raise StorageError(why, "use another --store here")

    def _directories(self) -> DirectoryLayout:
        return OverlayPlaces(self._home)

    def _begin(self, making: str, place: str, below: str, facts: dict[str, Any], locks: list[Lock]) -> LayerWriter:
        lowers = self._lowers(below) if below else []
        total = self._facts(below)["total"] if below else 0
        draft = OverlayDraft(self._places, making, place, {**facts, "total": total}, locks)
        try:
            self._places.fresh(making, "diff", "work", "root")
            if below:
                _copy_metadata(lowers[0], f"{making}/diff")
            elif self._user:  # a layer must not bring marks of its own: the kernel refuses them
                self._places.fresh(f"{making}/nothing")
                lowers = [f"{making}/nothing"]
            if lowers:
                self._mount(making, "diff", lowers, volatile=True)
                draft.path = f"{making}/root"
        except BaseException:
            self._places.discard(making)
            raise
        return draft

    def _fill(self, making: str, layer: str, use: RootfsUse) -> dict[str, Any]:
        self._places.fresh(making, "upper", "work", "root")
        _copy_metadata(f"{layer}/diff", f"{making}/upper")
        return {"size": 0}

    def _changes(self, place: str, layer: str) -> list[Change]:
        from runjail.storage.changes import of_overlay

        return of_overlay(self._lowers(layer), f"{place}/upper")

    def _show(self, place: str, layer: str, use: RootfsUse) -> None:
        self._mount(place, "upper", self._lowers(layer), volatile=use.transient, label=use.label)

    def _mount(self, place: str, upper: str, lowers: list[str], *, volatile: bool, label: str = "") -> None:
        what = Overlay(tuple(lowers), f"{place}/{upper}", f"{place}/work", self._user, volatile, label)
        overlay_mount.mount(what, f"{place}/root")

    def _lowers(self, layer: str) -> list[str]:
        """Return the directories of a layer and of all below it, the highest first."""
        found = []
        while True:
            found.append(f"{layer}/diff")
            parent = self._facts(layer)["parent"]
            if not parent:
                return found
            layer = self._places.layer(chain_name(parent))
            self._read.setdefault(layer, self._facts(layer))

    def _facts(self, layer: str) -> dict[str, Any]:
        facts = self._read.get(layer) or self._places.document(layer, "layer.json")
        if not facts:
            raise StorageError(f"{layer} is not in the store, and a layer above it is")
        return facts


class OverlayDraft(LayerWriter):
    """A layer in the making. facts: of it, total that of the layer below."""

    def __init__(
        self, places: DirectoryLayout, making: str, place: str, facts: dict[str, Any], locks: list[Lock]
    ) -> None:
        super().__init__(f"{making}/diff", *locks)
        self._places, self._making, self._place, self._facts = places, making, place, facts

    def _keep(self) -> None:
        self._places.free(self._making)
        for name in ("work", "root", "nothing"):
            self._places.discard(f"{self._making}/{name}")
        _own, size = self._places.measure(f"{self._making}/diff", set())
        facts = {**self._facts, "size": size, "total": self._facts["total"] + size}
        self._places.keep(self._making, self._place, facts, "layer.json", durable=True)

    def _drop(self) -> None:
        self._places.discard(self._making)


def _copy_metadata(source: str, target: str) -> None:
    """Give the top directory of new files what the one below it has: overlayfs shows the highest one's."""
    opened: list[int] = []
    try:
        opened += [os.open(source, DIRECTORY)]
        opened += [os.open(target, DIRECTORY)]
        found = os.fstat(opened[0])
        os.fchown(opened[1], found.st_uid, found.st_gid)
        for name, value in attributes.read(opened[0]).items():
            attributes.SYSTEM.set(opened[1], name, value)
        os.fchmod(opened[1], found.st_mode & 0o7777)
        os.utime(opened[1], ns=(found.st_atime_ns, found.st_mtime_ns))
    except OSError as error:
        raise StorageError(f"{target}: cannot be made like {source}: {reason(error)}") from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
