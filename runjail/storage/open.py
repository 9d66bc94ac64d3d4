"""The table of storage drivers: opening a store by its location, and what `auto` means here.

A driver is a module with two functions besides what `base.Store` asks for, and a row in DRIVERS:

    open_at(place, *, default, make, warn)   open the store NAME:place, making what is missing of it; make: also itself
    suits(default, holds)                    what `auto` takes: the location, "" for none, and why or why not
"""

from __future__ import annotations

import os
import sys

from runjail import log
from runjail.errors import StorageError
from runjail.record import Record
from runjail.storage import layout_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from runjail.storage.base import Report, Store

    class Module(Protocol):
        """A driver's module. holds: which driver made the store in the directory `default`, "" where there is none."""

        def open_at(self, place: str, *, default: str, make: bool, warn: Report) -> Store:
            """Open a store. Raises StorageError with a hint that names the command to give, StoreNotFound."""

        def suits(self, default: str, holds: str) -> tuple[str, str]:
            """Return a location or "", and why."""


class Driver(Record):
    """place: what stands behind the name in a location, for help texts. module: its name."""

    place: str
    module: str

    def load(self) -> Module:
        """Import it."""
        __import__(self.module)  # quicker than importing importlib
        found: Module = sys.modules[self.module]
        return found


# In the order in which `auto` asks them; the last one suits always.
DRIVERS = {
    "zfs": Driver("DATASET", "runjail.storage.zfs_open"),
    "overlay": Driver("/ABSOLUTE/PATH", "runjail.storage.overlay"),
    "dir": Driver("/ABSOLUTE/PATH", "runjail.storage.directory"),
}
AUTO = "auto"


def forms() -> str:
    """Return the forms of a location, for people."""
    return ", ".join(f"{name}:{driver.place}" for name, driver in DRIVERS.items()) + f" or {AUTO}"


def is_location(text: str) -> bool:
    """Whether this is the location of a store, in the form in which a store says its own."""
    name, _, place = text.partition(":")
    driver = DRIVERS.get(name)
    if not driver or not place:
        return False
    return os.path.isabs(place) or not os.path.isabs(driver.place)


def names_directory(location: str) -> bool:
    """Whether a location names a directory and no dataset: such a store needs no other place."""
    driver = DRIVERS.get(location.partition(":")[0])
    return driver is not None and os.path.isabs(driver.place)


def open_store(
    location: str, *, default: str, make: bool = True, warn: Report = log.warning, info: Report = log.info
) -> Store:
    """Open a store, making what is missing of it. make: also the store itself.

    location: a driver's name and place, or "auto", which asks the drivers in turn and says through `info` which it
    takes and why. default: the directory of a store that is on no dataset.
    Raises StorageError with a hint that names the command to give, StoreNotFound.
    """
    if location == AUTO:
        location, why = choose(default)
        info(f"store {location}: {why}")
    name, _, place = location.partition(":")
    if not is_location(location):
        raise StorageError(f"{location}: not a store", f"a store is {forms()}")
    return DRIVERS[name].load().open_at(place, default=default, make=make, warn=warn)


def choose(default: str) -> tuple[str, str]:
    """Return the location that `auto` means here, and why. default: the directory of a store without ZFS."""
    holds = layout_file.driver_at(default)
    against: list[str] = []
    for driver in DRIVERS.values():
        location, why = driver.load().suits(default, holds)
        if location:
            return location, "; ".join([*against, why] if why else against)
        against += [why] if why else []
    raise StorageError(f"no store can be at {default}", f"a store is {forms()}")
