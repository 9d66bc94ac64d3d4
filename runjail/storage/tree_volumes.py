"""Named volumes in a directory: PATH/volumes/NAME/_data, with a mark beside it until one is used."""

from __future__ import annotations

import os

from runjail import rootfs
from runjail.errors import StorageError, VolumeNotFound, reason
from runjail.storage.base import VolumeInfo, check_volume_name, free
from runjail.storage.durable import sync_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.storage.base import Check, Fill
    from runjail.storage.directory_layout import DirectoryLayout
    from runjail.storage.store_lock import StoreDirectory

DATA = "_data"
NEW, FILLING = "new", "filling"  # marks beside it


class TreeVolumes:
    """`Volumes` in a directory."""

    def __init__(self, home: StoreDirectory, places: DirectoryLayout) -> None:
        self._home, self._places = home, places

    def _place(self, name: str) -> str:
        return f"{self._home.directory('volumes')}/{check_volume_name(name)}"

    def make(self, name: str) -> str:
        """Make a volume where there is none. Returns its directory."""
        place = self._place(name)
        if not os.path.isdir(place):
            with self._home.lock("volume", name):
                self._make(name, place)
        return f"{place}/{DATA}"

    def _make(self, name: str, place: str) -> None:
        """Make a volume whose lock we hold, unless it is there."""
        making = self._places.making("volume", name)
        if not os.path.isdir(place):
            self._places.fresh(making, DATA)
            try:
                os.close(os.open(f"{making}/{NEW}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                os.rename(making, place)
            except OSError as error:
                raise StorageError(f"{place}: cannot be made: {reason(error)}") from error

    def use(self, name: str, fill: Fill) -> str:
        """Make a volume where there is none, and fill one that no container has had. Returns its directory."""
        place = self._place(name)
        with self._home.lock("volume", name):
            self._make(name, place)
            try:
                _fill(place, f"{place}/{DATA}", fill)
            except OSError as error:
                raise StorageError(f"volume {name}: cannot be filled: {reason(error)}") from error
        return f"{place}/{DATA}"

    def all(self) -> list[VolumeInfo]:
        """Return all volumes, sorted by name."""
        return [VolumeInfo(name, f"{self._place(name)}/{DATA}", "") for name in self._places.names("volumes")]

    def remove(self, name: str, check: Check = free) -> None:
        """Remove a volume. Raises VolumeNotFound where there is none, InUse."""
        place = self._place(name)
        with self._home.lock("volume", name, removing=True):
            if os.path.isdir(place):
                check(f"{place}/{DATA}")
            if not self._places.discard(place):
                raise VolumeNotFound(name)


def _fill(place: str, data: str, fill: Fill) -> None:
    """Fill a volume whose lock we hold, unless it has been. Raises OSError."""
    if os.path.exists(f"{place}/{NEW}"):
        if os.listdir(data):
            os.unlink(f"{place}/{NEW}")
        else:
            os.rename(f"{place}/{NEW}", f"{place}/{FILLING}")
    if os.path.exists(f"{place}/{FILLING}"):
        refill(data, fill)
        os.unlink(f"{place}/{FILLING}")


def refill(path: str, fill: Fill) -> None:
    """Fill a volume, in place of what a process that died has left, and have it on the disk. Raises OSError."""
    empty(path)
    fill(path)
    if os.listdir(path):
        sync_tree(path)


def empty(path: str) -> None:
    """Remove what is in a directory. Raises OSError, also for a mount in it."""
    directory = os.open(path, rootfs.DIRECTORY)
    try:
        rootfs.empty_tree(directory, path)
    finally:
        os.close(directory)
