"""Named volumes on ZFS: DATASET/volumes/NAME with a property that says whether it was used."""

from __future__ import annotations

import os

from runjail.errors import InUse, StorageError, VolumeNotFound, reason
from runjail.storage.base import VolumeInfo, check_volume_name, free
from runjail.storage.tree_volumes import refill
from runjail.storage.zfs_datasets import PROPERTY_PREFIX
from runjail.storage.zfs_encryption import make_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.storage.base import Check, Fill
    from runjail.storage.store_lock import StoreDirectory
    from runjail.storage.zfs_cli import Cli
    from runjail.storage.zfs_datasets import Datasets

MARK = PROPERTY_PREFIX + "volume"
NEW, FILLING, USED = MARKS = ("new", "filling", "used")


class ZfsVolumes:
    """`Volumes` as datasets."""

    def __init__(self, home: StoreDirectory, sets: Datasets, zfs: Cli) -> None:
        self._home, self._sets, self._zfs, self._above = home, sets, zfs, f"{sets.dataset}/volumes"

    def _dataset(self, name: str) -> str:
        return f"{self._above}/{check_volume_name(name)}"

    def _mark(self, dataset: str) -> str:
        """Return one of MARKS, "" where there is no such dataset. Raises StorageError for somebody else's."""
        found = self._zfs.read([dataset], [MARK]).get(dataset)
        if found and found[MARK] not in MARKS:
            raise StorageError(f"{dataset} was not made by runjail and is no volume")
        return found[MARK] if found else ""

    def make(self, name: str) -> str:
        """Make a volume where there is none. Returns where it is mounted."""
        dataset = self._dataset(name)
        if not self._mark(dataset):
            with self._home.lock("volume", name):
                self._make(dataset)
        return self._mounted(dataset)

    def _make(self, dataset: str) -> str:
        """Make a volume whose lock we hold, unless it is there. Returns its mark."""
        if mark := self._mark(dataset):
            return mark
        if not self._zfs.exists(self._above):
            self._home.directory("volumes")
            make_parent(self._zfs, self._above)
        self._zfs.create(dataset, {MARK: NEW, "canmount": "noauto"})
        return NEW

    def _path(self, dataset: str) -> str:
        return os.path.join(self._sets.path, dataset.removeprefix(f"{self._sets.dataset}/"))

    def _mounted(self, dataset: str) -> str:
        path = self._path(dataset)
        return path if os.path.ismount(path) else self._sets.mount(dataset, None)

    def use(self, name: str, fill: Fill) -> str:
        """Make a volume where there is none, and fill one that no container has had. Returns where it is mounted."""
        dataset = self._dataset(name)
        with self._home.lock("volume", name):
            mark = self._make(dataset)
            path = self._mounted(dataset)
            try:
                self._fill(dataset, mark, path, fill)
            except OSError as error:
                raise StorageError(f"volume {name}: cannot be filled: {reason(error)}") from error
        return path

    def _fill(self, dataset: str, mark: str, path: str, fill: Fill) -> None:
        """Fill a volume whose lock we hold, unless it has been. Raises OSError."""
        if mark == NEW and not os.listdir(path):
            self._zfs.set(dataset, MARK, mark := FILLING)
        if mark == FILLING:
            refill(path, fill)
        if mark != USED:
            self._zfs.set(dataset, MARK, USED)

    def all(self) -> list[VolumeInfo]:
        """Return all volumes, sorted by name."""
        facts = self._zfs.read([self._above], [MARK, "mountpoint"], recursive=True)
        # Datasets and snapshots that somebody made below a volume inherit its property
        names = [name for name in sorted(facts) if os.path.dirname(name) == self._above and "@" not in name]
        volumes = [name for name in names if facts[name][MARK] in MARKS]
        return [VolumeInfo(name.rpartition("/")[2], facts[name]["mountpoint"], name) for name in volumes]

    def remove(self, name: str, check: Check = free) -> None:
        """Destroy a volume. Raises VolumeNotFound where there is none, InUse while it is mounted elsewhere."""
        dataset = self._dataset(name)
        with self._home.lock("volume", name, removing=True):
            if not self._mark(dataset):
                raise VolumeNotFound(name)
            check(self._path(dataset))
            facts = self._zfs.read([dataset], ["mounted"], recursive=True)
            if others := sorted(facts.keys() - {dataset}):
                raise InUse(f"{dataset} has what runjail did not make: {', '.join(others[:5])}")
            if facts[dataset]["mounted"] == "yes":
                self._sets.until_free(dataset, self._zfs.unmount)
            self._sets.until_free(dataset, self._zfs.destroy)
