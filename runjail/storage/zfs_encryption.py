"""Layers at rest under OpenZFS's native encryption: one encryption root for each seal.

The key comes from the caller each time, goes to zfs(8) on its standard input, and is forgotten as soon as no file
system under it is mounted. Clones keep the key of their origin wherever they are (zfs-load-key(8), "Encryption").
"""

from __future__ import annotations

from runjail.errors import StorageError
from runjail.scope import scope
from runjail.storage.base import LayerKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runjail.storage.store_lock import StoreDirectory
    from runjail.storage.zfs_cli import Cli

# Tools that take snapshots of everything would keep layers from being removed; they honour the last of these.
PARENT = {"canmount": "off", "atime": "off", "com.sun:auto-snapshot": "false"}


def make_parent(zfs: Cli, name: str, properties: Mapping[str, str] = PARENT, key: bytes = b"") -> None:
    """Create a dataset that only holds others, unless somebody else does so at the same time. Raises StorageError."""
    try:
        zfs.create(name, properties, key)
    except StorageError:
        if not zfs.exists(name):
            raise


class Seals:
    """The encryption roots below one dataset, which is made when the first is needed."""

    def __init__(self, dataset: str, home: StoreDirectory, zfs: Cli) -> None:
        self.dataset, self._home, self._zfs = dataset, home, zfs

    @scope
    def opened(self, seal: LayerKey | None) -> Iterator[None]:
        """Keep the key loaded during a `with`, whoever else closes it; nothing without a seal.

        Raises StorageError when the key is not that of the seal, or when the pool cannot encrypt.
        """
        if not seal:
            yield
            return
        root = f"{self.dataset}/{seal.name}"
        with self._home.lock("seal", seal.name, shared=True):
            if not self._zfs.exists(root):
                self._make(root, seal.key)
            loaded = self._zfs.read([root], ["keystatus"])[root]["keystatus"] == "available"
            self._zfs.load_key(root, seal.key, check=loaded)
            yield

    def _make(self, root: str, key: bytes) -> None:
        pool = root.partition("/")[0]
        if (state := self._zfs.feature(pool, "encryption")) not in ("enabled", "active"):
            hint = f"zpool set feature@encryption=enabled {pool}" if state else "native encryption needs OpenZFS"
            raise StorageError(f"pool {pool} cannot encrypt: layers of encrypted images cannot be kept sealed", hint)
        make_parent(self._zfs, self.dataset)
        make_parent(self._zfs, root, PARENT, key)

    def close(self, name: str) -> None:
        """Let ZFS forget a key, unless something under it is mounted or about to be."""
        if lock := self._home.try_lock("seal", name):
            with lock:
                self._zfs.unload_key(f"{self.dataset}/{name}")

    def forget(self, name: str) -> bool:
        """Remove a seal without layers, otherwise close it. Whether it was removed."""
        root = f"{self.dataset}/{name}"
        if lock := self._home.try_lock("seal", name):
            with lock:
                if len(self._zfs.read([root], ["type"], recursive=True)) == 1:
                    return self._zfs.destroy(root)
                self._zfs.unload_key(root)
        return False
