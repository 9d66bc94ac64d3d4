"""The ZFS store: a dataset for each layer, a clone for each container.

DATASET                        content, bundles and locks are directories in it
DATASET/layers/HEX             a layer by its chainID, clone of the layer below; complete when HEX@ready exists
DATASET/sealed/SEAL/HEX        the same for encrypted images; SEAL is an encryption root whose key is on no disk
DATASET/containers/NAME        the root of a container, clone of a layer
DATASET/volumes/NAME           a named volume
"""

from __future__ import annotations

import os

from runjail import log
from runjail.errors import InUse, StorageError
from runjail.storage import base
from runjail.storage.base import ANY_USE, LayerInfo, LayerKey, LayerWriter, RootfsInfo, RootfsUse
from runjail.storage.store_lock import Lock, StoreDirectory
from runjail.storage.zfs_datasets import OWN_PROPERTIES, PROPERTY_PREFIX, READY, Datasets
from runjail.storage.zfs_encryption import Seals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runjail.storage.base import Volumes
    from runjail.storage.changes import Change
    from runjail.storage.zfs_cli import Cli, Facts


class ZfsStore:
    """A store in an existing dataset, mounted at `home`. zfs: zfs(8). many: the same, or faster for making layers."""

    kind = "zfs"
    apart = True
    labels = False

    def __init__(self, dataset: str, home: StoreDirectory, zfs: Cli, many: Callable[[], Cli] | None = None) -> None:
        self.dataset, self.location, self._home, self._zfs = dataset, f"zfs:{dataset}", home, zfs
        self._sets = Datasets(dataset, home.path, zfs)
        self.seals = Seals(f"{dataset}/sealed", home, zfs)
        self._load, self._loaded = many, zfs

    @property
    def _many(self) -> Cli:
        if self._load:
            self._loaded, self._load = self._load(), None
        return self._loaded

    def content(self) -> str:
        """Return the directory for blobs and documents."""
        return self._home.directory("content")

    def bundles(self) -> str:
        """Return the directory for bundles."""
        return self._home.directory("bundles")

    def volumes(self) -> Volumes:
        """Return the named volumes."""
        from runjail.storage.zfs_volumes import ZfsVolumes

        return ZfsVolumes(self._home, self._sets, self._zfs)

    # -- layers

    def has_layer(self, chain: str, seal: LayerKey | None = None) -> bool:
        """Whether this layer is committed."""
        return self._zfs.exists(self._sets.layer(chain, seal) + READY)

    def draft(self, chain: str, parent: str | None, seal: LayerKey | None = None) -> LayerWriter | None:
        """Begin a layer; None when it is committed."""
        name = self._sets.layer(chain, seal)
        below = self._sets.layer(parent, seal) + READY if parent else ""
        lock = self._home.lock("layer", self._sets.lock_name(name))
        try:
            facts = self._sets.facts(name)
            if name + READY in facts:
                lock.release()
                return None
            self._sets.discard(name, facts, self._many)
            return ZfsDraft(self, name, self._begin(name, below, chain, seal), seal, lock)
        except BaseException:
            lock.release()
            raise

    def _begin(self, name: str, below: str, chain: str, seal: LayerKey | None) -> str:
        """Make the dataset of a layer and mount it. Returns its path."""
        properties = {"canmount": "noauto", PROPERTY_PREFIX + "chain": chain} | (
            {PROPERTY_PREFIX + "seal": seal.name} if seal else {}
        )
        with self.seals.opened(seal):
            try:
                if below:
                    self._many.clone(below, name, properties)
                else:
                    self._many.create(name, properties)
                return self._sets.mount(name, seal)
            except BaseException as error:
                self.drop(name)
                if below and isinstance(error, StorageError) and not self._many.exists(below):
                    raise StorageError(f"the layer below {chain} is not in the store") from error
                raise

    def commit(self, name: str) -> None:
        """Make a layer out of a mounted dataset: the snapshot is the last step."""
        self._sets.until_free(name, self._zfs.unmount)
        self._zfs.set(name, "readonly", "on")
        self._many.snapshot(name + READY)

    def drop(self, name: str) -> None:
        """Destroy the dataset of a layer that is not committed."""
        facts = self._sets.facts(name)
        if name + READY not in facts:
            self._sets.discard(name, facts, self._many)

    def layers(self) -> list[LayerInfo]:
        """Return all committed layers."""
        kept = ("used", "referenced", "origin", "creation", *OWN_PROPERTIES)
        facts = self._zfs.read([self.dataset], kept, recursive=True)
        users: dict[str, list[str]] = {}
        for name, found in facts.items():
            if root := self._sets.root_at(name, found):
                users.setdefault(found["origin"], []).append(root)
        infos = []
        for name in sorted(facts):
            place, ready = self._sets.layer_at(name, facts[name]), facts.get(name + READY)
            if place and ready:
                on_it = sorted(users.get(name + READY, ()))
                infos.append(_layer_info(name, *place, facts[name], int(ready["creation"]), on_it))
        return infos

    def remove_layer(self, info: LayerInfo) -> None:
        """Remove a layer that nothing depends on."""
        name = self._sets.place(info.chain, info.seal)
        lock = self._home.try_lock("layer", self._sets.lock_name(name))
        if not lock:
            raise InUse(f"layer {info.chain} is in use: it is being made or removed")
        with lock:
            facts = self._sets.facts(name)
            self._sets.alone(name, facts, READY)
            if facts.pop(name + READY, None):
                self._sets.until_free(name + READY, self._many.destroy)  # refused while there are clones
            self._sets.discard(name, facts, self._many)
        if info.seal:
            self.seals.forget(info.seal)

    # -- roots

    def create_rootfs(self, name: str, chain: str, seal: LayerKey | None = None, use: RootfsUse = ANY_USE) -> str:
        """Clone a layer for a container and return the path it is mounted at."""
        dataset, snapshot = self._sets.container(name), self._sets.layer(chain, seal) + READY
        wanted = {PROPERTY_PREFIX + key: value for key, value in base.check_properties(use.properties).items()}
        wanted |= {"canmount": "noauto", PROPERTY_PREFIX + "chain": chain, PROPERTY_PREFIX + "name": name}
        wanted |= {PROPERTY_PREFIX + "seal": seal.name} if seal else {}
        wanted |= {"quota": str(use.size)} if use.size else {}
        with self._home.lock("root", name) as lock:
            if lock.abandoned:
                self._discard_root(dataset, lock)
            elif self._zfs.exists(dataset):
                raise StorageError(f"a root {name} exists already")
            with self.seals.opened(seal):
                try:
                    self._zfs.clone(snapshot, dataset, wanted)
                    return self._sets.mount(dataset, seal)
                except BaseException as error:
                    self._discard_root(dataset, lock)
                    if isinstance(error, StorageError) and not self._zfs.exists(snapshot):
                        raise StorageError(f"layer {chain} is not in the store") from error
                    raise

    def remove_root(self, name: str) -> None:
        """Destroy a container's clone."""
        dataset = self._sets.container(name)
        with self._home.lock("root", name, removing=True) as lock:
            facts = self._discard_root(dataset, lock)
        if (seal := facts.get(dataset, {}).get(PROPERTY_PREFIX + "seal", "-")) != "-":
            self.seals.close(seal)

    def _discard_root(self, dataset: str, lock: Lock) -> Facts:
        """Destroy a clone whose lock we hold; when that fails, a sweep will try again. Returns what it was."""
        try:
            facts = self._sets.facts(dataset)
            foreign = bool(facts) and not self._sets.root_at(dataset, facts[dataset])
            if not foreign:
                self._sets.discard(dataset, facts)
        except StorageError:
            lock.leave()
            raise
        if foreign:
            raise StorageError(f"{dataset} was not made by runjail and stays")
        return facts

    def root(self, name: str) -> RootfsInfo | None:
        """Return one root."""
        return next(iter(self._roots(self._sets.container(name), recursive=False)), None)

    def roots(self) -> list[RootfsInfo]:
        """Return all roots."""
        return sorted(self._roots(f"{self.dataset}/containers", recursive=True), key=lambda info: info.name)

    def _roots(self, dataset: str, *, recursive: bool) -> list[RootfsInfo]:
        facts = self._zfs.read([dataset], ["all"], recursive=recursive)  # `all`: it is not known which there are
        named = [(self._sets.root_at(name, found), name, found) for name, found in facts.items()]
        return [_root_info(root, name, found) for root, name, found in named if root]

    def changes(self, name: str) -> list[Change]:
        """Return what differs between a root and its layer, which is mounted meanwhile: zfs-diff(8) needs that."""
        from runjail.storage.changes import of_trees, of_zfs

        found = self.root(name)
        if not found:
            raise StorageError(f"there is no root {name}")
        origin = self._zfs.read([found.dataset], ["origin"])[found.dataset]["origin"]
        layer = origin.removesuffix(READY)
        with self._home.lock("layer", self._sets.lock_name(layer)):
            before = self._sets.mount(layer, None)
            try:
                lines = self._zfs.diff(origin, found.dataset)
                return of_trees(before, found.path) if lines is None else of_zfs(lines, before, found.path)
            finally:
                self._sets.until_free(layer, self._zfs.unmount)

    # -- after accidents

    def sweep(self) -> list[str]:
        """Remove what processes that died have left, and forget the keys that nobody uses."""
        facts = self._zfs.read([self.dataset], OWN_PROPERTIES, recursive=True)
        layers = [name for name in sorted(facts) if self._sets.layer_at(name, facts[name])]
        removed = [name for name in layers if name + READY not in facts and self._attempt(self._sweep_layer, name)]
        roots = [name for name in self._home.locks("root") if self._attempt(self._sweep_root, name)]
        for name in facts:
            if os.path.dirname(name) == f"{self.dataset}/sealed":
                self._attempt(self.seals.forget, os.path.basename(name))
        self._home.sweep_locks("layer", "seal", "volume")
        return removed + [self._sets.container(name) for name in roots]

    def _sweep_layer(self, name: str) -> bool:
        lock = self._home.try_lock("layer", self._sets.lock_name(name))
        if not lock:  # somebody is making it
            return False
        with lock:
            facts = self._sets.facts(name)
            if name + READY in facts:
                return False
            self._sets.discard(name, facts)
            return bool(facts)

    def _sweep_root(self, name: str) -> bool:
        lock = self._home.try_lock("root", name)
        if not lock:
            return False
        with lock:
            return lock.abandoned and bool(self._discard_root(self._sets.container(name), lock))

    def _attempt(self, call: Callable[[str], bool], name: str) -> bool:
        try:
            return call(name)
        except StorageError as error:
            log.warning(f"{name} stays: {error}")
            return False


class ZfsDraft(LayerWriter):
    """A layer in the making: a mounted dataset without `@ready`."""

    def __init__(self, store: ZfsStore, name: str, path: str, seal: LayerKey | None, lock: Lock) -> None:
        super().__init__(path, lock)
        self._store, self._name, self._seal = store, name, seal

    def _keep(self) -> None:
        self._store.commit(self._name)

    def _drop(self) -> None:
        self._store.drop(self._name)

    def _close(self) -> None:
        super()._close()
        if self._seal:
            self._store.seals.close(self._seal.name)


def _layer_info(
    name: str, chain: str, seal: str, found: Mapping[str, str], created: int, users: list[str]
) -> LayerInfo:
    parent = base.chain_of(found["origin"].removesuffix(READY).rpartition("/")[2])
    return LayerInfo(chain, parent, int(found["used"]), int(found["referenced"]), seal, created, tuple(users), name)


def _root_info(root: str, name: str, found: Mapping[str, str]) -> RootfsInfo:
    own = {key.removeprefix(PROPERTY_PREFIX): value for key, value in found.items() if key.startswith(PROPERTY_PREFIX)}
    kept = {key: value for key, value in own.items() if key not in base.RESERVED}
    sizes = int(found["used"]), int(found["quota"])
    return RootfsInfo(root, own["chain"], found["mountpoint"], *sizes, kept, int(found["creation"]), name)
