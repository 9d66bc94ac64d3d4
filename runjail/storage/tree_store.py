"""What stores in a directory have in common: trees made aside, and a rename as the commit.

    PATH/store.json                            which driver made it
    PATH/layers/HEX/{...,layer.json}           a layer by its chainID
    PATH/containers/NAME/{root,...,root.json}  the root of a container
    PATH/volumes/NAME/_data                    a named volume
    PATH/making/KIND+NAME                      the same before it is complete; a rename makes it one of the above
    PATH/trash                                 what is being removed

A layer is on the disk, all of it, before the rename. The root of a container is not: no container outlives the machine,
so what a power cut leaves of one is removed by `sweep` or with its bundle. What of it is where, and what a root shows,
is the drivers' (`directory`, `overlay`).
"""

from __future__ import annotations

import abc
import os

from runjail import log
from runjail.errors import InUse, StorageError
from runjail.storage import base
from runjail.storage.base import ANY_USE, LayerInfo, LayerKey, LayerWriter, RootfsInfo, RootfsUse
from runjail.storage.directory_layout import DirectoryLayout
from runjail.storage.store_lock import Lock, StoreDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from runjail.storage.base import Report, Volumes
    from runjail.storage.changes import Change

_NONE: Mapping[str, str] = {}


class TreeStore(abc.ABC):
    """A store in a directory, which is made with mode 0700 when it is missing, unless make is False.

    facts: what a new one writes down of itself. Drivers answer the four methods below.
    """

    kind = ""
    apart = True
    labels = False

    def __init__(
        self, path: str, warn: Report = log.warning, *, make: bool = True, facts: Mapping[str, str] = _NONE
    ) -> None:
        self.path, self.location, self._warn, self._warned = path, f"{self.kind}:{path}", warn, False
        self._home = StoreDirectory(path, self.location, make=make, facts=facts)
        self._places = self._directories()

    def _directories(self) -> DirectoryLayout:
        """Return what knows where things are."""
        return DirectoryLayout(self._home)

    @abc.abstractmethod
    def _begin(self, making: str, place: str, below: str, facts: dict[str, Any], locks: list[Lock]) -> LayerWriter:
        """Begin a layer in `making`, to become `place`. below: the directory of the layer below, "" for none."""

    @abc.abstractmethod
    def _fill(self, making: str, layer: str, use: RootfsUse) -> dict[str, Any]:
        """Make the root of a container in `making`. Returns what has to be known of it: `size`."""

    @abc.abstractmethod
    def _show(self, place: str, layer: str, use: RootfsUse) -> None:
        """Have a container's files in `place`/root: the last step of making a root."""

    @abc.abstractmethod
    def _changes(self, place: str, layer: str) -> list[Change]:
        """Return what differs between a container's files and the layer that they were made of."""

    def content(self) -> str:
        """Return the directory for blobs and documents."""
        return self._home.directory("content")

    def bundles(self) -> str:
        """Return the directory for bundles."""
        return self._home.directory("bundles")

    def volumes(self) -> Volumes:
        """Return the named volumes."""
        from runjail.storage.tree_volumes import TreeVolumes

        return TreeVolumes(self._home, self._places)

    # -- layers

    def has_layer(self, chain: str, seal: LayerKey | None = None) -> bool:
        """Whether this layer is committed."""
        return self._is_layer(self._layer(chain, seal))

    def _is_layer(self, place: str) -> bool:
        return self._places.document(place, "layer.json") is not None

    def draft(self, chain: str, parent: str | None, seal: LayerKey | None = None) -> LayerWriter | None:
        """Begin a layer; None when it is committed."""
        place, below = self._layer(chain, seal), self._layer(parent, seal) if parent else ""
        locks = [self._home.lock("layer", os.path.basename(place))]
        try:
            if self._is_layer(place):
                locks[0].release()
                return None
            self._places.discard(place)  # one that a power cut left without its facts, by a release that synced nothing
            if below:
                locks.append(self._home.lock("layer", os.path.basename(below), shared=True))
                if not self._is_layer(below):
                    raise StorageError(f"the layer below {chain} is not in the store")
            making = self._places.making("layer", os.path.basename(place))
            return self._begin(making, place, below, {"chain": chain, "parent": parent or ""}, locks)
        except BaseException:
            for lock in locks:
                lock.release()
            raise

    def layers(self) -> list[LayerInfo]:
        """Return all committed layers."""
        users: dict[str, list[str]] = {}
        for root in self.roots():
            users.setdefault(root.chain, []).append(root.name)
        infos = []
        for name in self._places.names("layers"):
            if facts := self._places.document(self._places.layer(name), "layer.json"):
                sizes, on_it = (facts["size"], facts["total"]), tuple(users.get(facts["chain"], ()))
                place = self._places.layer(name)
                infos.append(LayerInfo(facts["chain"], facts["parent"], *sizes, "", facts["created"], on_it, place))
        return infos

    def remove_layer(self, info: LayerInfo) -> None:
        """Remove a layer that no root and no higher layer was made of."""
        place = self._layer(info.chain)
        lock = self._home.try_lock("layer", os.path.basename(place))
        if not lock:
            raise InUse(f"layer {info.chain} is in use: it is being made, or made use of")
        with lock:
            others = self.layers()
            on_it = [other.chain for other in others if other.parent == info.chain]
            on_it += [name for other in others if other.chain == info.chain for name in other.users]
            if on_it:
                raise InUse(f"layer {info.chain} is in use by {', '.join(on_it[:5])}")
            self._places.discard(place)

    # -- roots

    def create_rootfs(self, name: str, chain: str, seal: LayerKey | None = None, use: RootfsUse = ANY_USE) -> str:
        """Make a container's root and return its path."""
        layer, place = self._layer(chain, seal), self._container(name)
        facts = {"name": name, "chain": chain, "properties": base.check_properties(use.properties)}
        if use.size and not self._warned:
            self._warned = True
            self._warn(f"{self.location} cannot enforce a size; a store on ZFS can")
        with self._home.lock("root", name) as lock:
            if lock.abandoned:
                self._discard_root(name, lock)
            elif os.path.isdir(place):
                raise StorageError(f"a root {name} exists already")
            with self._home.lock("layer", os.path.basename(layer), shared=True):
                if not self._is_layer(layer):
                    raise StorageError(f"layer {chain} is not in the store")
                self._make_root(name, layer, facts, lock, use)
        return f"{place}/root"

    def _make_root(self, name: str, layer: str, facts: dict[str, Any], lock: Lock, use: RootfsUse) -> None:
        making, place = self._places.making("root", name), self._container(name)
        try:
            found = self._fill(making, layer, use)
            self._places.keep(making, place, {**facts, **found}, "root.json", durable=False)
            self._show(place, layer, use)
        except BaseException:
            self._discard_root(name, lock)
            raise

    def remove_root(self, name: str) -> None:
        """Remove a container's root."""
        self._container(name)
        with self._home.lock("root", name, removing=True) as lock:
            self._discard_root(name, lock)

    def _discard_root(self, name: str, lock: Lock) -> bool:
        """Remove a root whose lock we hold; when that fails, a sweep will try again. Whether there was one."""
        try:
            removed = [
                self._places.discard(self._places.making("root", name)),
                self._places.discard(self._container(name)),
            ]
        except StorageError:
            lock.leave()
            raise
        return any(removed)

    def root(self, name: str) -> RootfsInfo | None:
        """Return one root."""
        place = self._container(name)
        facts = self._places.document(place, "root.json")
        if not facts:
            return None
        return RootfsInfo(
            name, facts["chain"], f"{place}/root", facts["size"], 0, facts["properties"], facts["created"], ""
        )

    def roots(self) -> list[RootfsInfo]:
        """Return all roots."""
        return [info for name in self._places.names("containers") if (info := self.root(name))]

    def changes(self, name: str) -> list[Change]:
        """Return what differs between a root and its layer."""
        found = self.root(name)
        if not found:
            raise StorageError(f"there is no root {name}")
        return self._changes(self._container(name), self._layer(found.chain))

    # -- after accidents

    def sweep(self) -> list[str]:
        """Remove what processes that died have left."""
        removed = []
        for name in self._places.names("making"):
            place = os.path.join(self.path, "making", name)
            if self._attempt(self._sweep, *name.split("+", 1)):
                removed.append(place)
        for name in self._places.names("containers"):
            if not self.root(name) and self._attempt(self._sweep_root, name):
                removed.append(self._container(name))
        for name in self._home.locks("root"):
            if self._attempt(self._sweep, "root", name):
                removed.append(self._container(name))
        for name in self._places.names("trash"):
            self._attempt(self._places.empty, name)
        self._home.sweep_locks("layer", "seal", "volume")
        return removed

    def _sweep(self, kind: str, name: str) -> bool:
        lock = self._home.try_lock(kind, name)
        if not lock:  # somebody is making it
            return False
        with lock:
            if kind == "root" and lock.abandoned:
                return self._discard_root(name, lock)
            return self._places.discard(self._places.making(kind, name))

    def _sweep_root(self, name: str) -> bool:
        """Remove a root without facts, unless somebody works on it."""
        lock = self._home.try_lock("root", name)
        if not lock:
            return False
        with lock:
            return not self.root(name) and self._discard_root(name, lock)

    def _attempt(self, call: Callable[..., bool], *arguments: str) -> bool:
        try:
            return call(*arguments)
        except StorageError as error:
            log.warning(f"{' '.join(arguments)} stays: {error}")
            return False

    def _layer(self, chain: str, seal: LayerKey | None = None) -> str:
        if seal:
            why = f"{self.location} cannot encrypt: layers of encrypted images cannot be kept sealed"
            raise StorageError(why, "use a ZFS store, or turn store.encrypt off")
        return self._places.layer(base.chain_name(chain))

    def _container(self, name: str) -> str:
        return self._places.container(base.check_root_name(name))
