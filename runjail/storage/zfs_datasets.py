"""The datasets of one store: their names, which are ours, how one is mounted and destroyed.

Nothing is destroyed recursively, by force or by name alone: what has no `org.runjail:chain` that fits its place is not
ours, and ZFS itself refuses to destroy what a clone depends on.
"""

from __future__ import annotations

import os

from runjail.errors import InUse, StorageError
from runjail.storage import base
from runjail.storage.base import LayerKey
from runjail.storage.busy import until_free

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runjail.storage.zfs_cli import Cli, Facts

PROPERTY_PREFIX = "org.runjail:"  # user properties; zfsprops(7) asks for a reversed domain name
READY = "@ready"
OWN_PROPERTIES = (PROPERTY_PREFIX + "chain", PROPERTY_PREFIX + "seal", "mounted")
LONGEST = 255  # bytes of a name, ZFS_MAX_DATASET_NAME_LEN


class Datasets:
    """Datasets below one that is mounted at `path`."""

    def __init__(self, dataset: str, path: str, zfs: Cli) -> None:
        self.dataset, self.path, self._zfs = dataset, path, zfs

    def layer(self, chain: str, seal: LayerKey | None) -> str:
        """Return the dataset of a layer. Raises StorageError when chain or seal is not of the right form."""
        return self.place(chain, base.check_seal(seal).name if seal else "")

    def place(self, chain: str, seal: str) -> str:
        """Return the dataset of a layer, by the name of its seal or ""."""
        return f"{self.dataset}/{f'sealed/{seal}' if seal else 'layers'}/{base.chain_name(chain)}"

    def container(self, name: str) -> str:
        """Return the dataset of a root. Raises StorageError when the name is no container ID."""
        # ZFS knows no "+" and container IDs know no ":".
        dataset = f"{self.dataset}/containers/{base.check_root_name(name).replace('+', ':')}"
        if len(dataset) > LONGEST:
            raise StorageError(f"{name} is too long for the name of a root: ZFS allows {LONGEST} with {self.dataset}")
        return dataset

    def lock_name(self, name: str) -> str:
        """Return the name of the lock of a layer's dataset."""
        return name.removeprefix(self.dataset + "/").partition("/")[2].replace("/", "-")

    def layer_at(self, name: str, found: Mapping[str, str]) -> tuple[str, str] | None:
        """Return chain and seal of a dataset that is a layer of ours, ready or not; None for others."""
        chain, seal = found[PROPERTY_PREFIX + "chain"], found[PROPERTY_PREFIX + "seal"].strip("-")
        digits = os.path.basename(name)
        if "@" in name or base.chain_of(digits) != chain or name != self.place(chain, seal):
            return None
        return chain, seal

    def root_at(self, name: str, found: Mapping[str, str]) -> str:
        """Return the name of the root that a dataset of ours is, "" for others."""
        if "@" in name or os.path.dirname(name) != f"{self.dataset}/containers":
            return ""
        return os.path.basename(name).replace(":", "+") if found.get(PROPERTY_PREFIX + "chain", "-") != "-" else ""

    def facts(self, name: str) -> Facts:
        """Return what is known of a dataset and all below it; empty when it is not there."""
        return self._zfs.read([name], OWN_PROPERTIES, recursive=True)

    def mount(self, name: str, seal: LayerKey | None) -> str:
        """Mount a dataset of ours and return where. One that should be encrypted has to be. Raises StorageError."""
        if seal and self._zfs.read([name], ["encryption"])[name]["encryption"] in ("off", "-"):
            raise StorageError(f"{name} is not encrypted")
        path = os.path.join(self.path, name.removeprefix(self.dataset + "/"))
        if not os.path.ismount(path):  # zfs-fuse mounts what is made, whatever canmount says
            self._zfs.mount(name)
        if not os.path.ismount(path):
            raise StorageError(f"{name} is not mounted at {path}", f"zfs inherit -r mountpoint {self.dataset}")
        return path

    def discard(self, name: str, facts: Facts, zfs: Cli | None = None) -> None:
        """Unmount and destroy one dataset, of which `facts` are known. Raises InUse, StorageError.

        zfs: what destroys it, zfs(8) when there is nothing faster.
        """
        if not facts:
            return
        self.alone(name, facts)
        if facts[name]["mounted"] == "yes":
            self.until_free(name, self._zfs.unmount)
        self.until_free(name, (zfs or self._zfs).destroy)

    def alone(self, name: str, facts: Facts, *own: str) -> None:
        """Check that the dataset is ours and has no snapshots but `own`. Raises InUse, StorageError."""
        if name in facts and not self.layer_at(name, facts[name]) and not self.root_at(name, facts[name]):
            raise StorageError(f"{name} was not made by runjail and stays")
        others = sorted(facts.keys() - {name, *(name + snapshot for snapshot in own)})
        if others:
            raise InUse(f"{name} has what runjail did not make: {', '.join(others[:5])}", f"zfs list -r -t all {name}")

    def until_free(self, name: str, call: Callable[[str], bool]) -> None:
        """Repeat what is refused because it is busy. Raises InUse when it stays so."""
        until_free(lambda: call(name), name)
