"""What the ZFS store asks of ZFS, answered by FreeBSD's kernel: libzfs_core, and mount(2).

zfs(8) costs 1.2 starts of a bare interpreter with its fork, and the run of an image that is in the store asked it eight
times. It still does what is done once for a store or a volume, encryption, and properties that are set later. Whatever
the kernel refuses, or cannot tell, zfs(8) is asked again: its words, and what the store makes of them, are the same.
"""

from __future__ import annotations

import errno
import os

from runjail.host.freebsd import libc
from runjail.storage import zfs_library
from runjail.storage.zfs_cli import Cli
from runjail.storage.zfs_core import as_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runjail.storage.zfs_cli import Facts
    from runjail.storage.zfs_library import Property, ZfsLibrary

# What is printed here as by zfs-get(8) -p. Not `encryption`, which libzfs puts together from several.
KNOWN = {"type", "used", "referenced", "origin", "creation", "mountpoint", "mounted"}
FORBIDDING = {"canmount": "off", "jailed": "on", "overlay": "off"}  # what zfs-mount(8) heeds, and the kernel does not
INDEX = {"canmount": ("off", "on", "noauto"), "jailed": ("off", "on"), "overlay": ("off", "on")}
DEFAULTS = {"canmount": "on", "jailed": "off", "overlay": "on"}


class Kernel(Cli):
    """zfs(8) with the kernel in front of it."""

    starts_programs = False

    def __init__(self, cli: Cli, library: ZfsLibrary, system: libc.Libc) -> None:
        super().__init__(cli._zfs_path, cli._zpool_path, cli._run)
        self._library, self._system = library, system

    def read(self, names: Sequence[str], properties: Sequence[str], *, recursive: bool = False) -> Facts:
        """Return the properties of datasets, and with `recursive` of what is below; missing ones are left out."""
        if all(key in KNOWN or ":" in key for key in properties):
            try:
                return self._read(names, properties, recursive)
            except (OSError, LookupError, ValueError):
                pass
        return super().read(names, properties, recursive=recursive)

    def _read(self, names: Sequence[str], properties: Sequence[str], recursive: bool) -> Facts:
        """Do it; LookupError for what cannot be told here."""
        found: Facts = {}
        places, waiting = self._places(), list(names)
        while waiting:
            name = waiting.pop()
            if not (facts := self._facts(name, properties, places)):
                continue
            found[name] = facts
            if recursive and "@" not in name:
                if self._library.has_bookmarks(name):
                    raise LookupError(name)
                waiting += self._library.below(name)
        return found

    def _facts(self, name: str, properties: Sequence[str], places: Mapping[str, str]) -> dict[str, str]:
        """Return the properties of one; none when it is not there."""
        given = self._library.properties(name, {*properties, "volsize"})
        if given is None:
            return {}
        kind = "snapshot" if "@" in name else "volume" if "volsize" in given else "filesystem"
        facts = {"type": kind, "mounted": "-", "mountpoint": "-"}
        if kind == "filesystem":
            facts["mounted"] = "yes" if name in places else "no"
            if "mountpoint" in properties:
                facts["mountpoint"] = _place(name, *given.get("mountpoint", (f"/{name}", "default")), places)
        return {key: facts[key] if key in facts else _text(key, given) for key in properties}

    def _places(self) -> dict[str, str]:
        """Return where which dataset is mounted."""
        return {mounted.source: mounted.path for mounted in self._system.mounts() if mounted.fstype == "zfs"}

    def exists(self, name: str) -> bool:
        """Whether there is this dataset or snapshot."""
        try:
            return self._library.exists(name)
        except OSError:
            return super().exists(name)

    def create(self, name: str, properties: Mapping[str, str], key: bytes = b"") -> None:
        """Create a file system, which is not mounted. Encryption roots are left to zfs(8)."""
        try:
            if not key and "mountpoint" not in properties:
                return self._library.create(name, as_numbers(properties))
        except OSError:
            pass
        return super().create(name, properties, key)

    def clone(self, snapshot: str, name: str, properties: Mapping[str, str]) -> None:
        """Clone a snapshot; the clone is not mounted."""
        try:
            self._library.clone(snapshot, name, as_numbers(properties))
        except OSError:
            super().clone(snapshot, name, properties)

    def snapshot(self, name: str) -> None:
        """Take a snapshot: `DATASET@NAME`."""
        try:
            self._library.snapshot(name)
        except OSError:
            super().snapshot(name)

    def destroy(self, name: str) -> bool:
        """Destroy one dataset or one snapshot, and its mount point. Raises InUse when something depends on it."""
        try:
            place = "" if "@" in name else self._mount_point(name)
            self._library.destroy(name)
        except (OSError, LookupError):
            return super().destroy(name)
        try:
            if place:
                os.rmdir(place)
        except OSError:  # none was made, or something is in it: zfs(8) leaves that, too
            pass
        return True

    def _mount_point(self, name: str) -> str:
        """Return where a dataset is mounted or would be. Raises OSError, LookupError when that cannot be told."""
        return _place_of(name, self._read([name], ["mountpoint"], False)[name])

    def mount(self, name: str) -> None:
        """Mount a file system; one that is mounted is success. What zfs-mount(8) would not mount is left to it."""
        try:
            facts = self._read([name], ["mountpoint", "mounted", *FORBIDDING], False)[name]
            place = _place_of(name, facts)
            if any(facts[key] == value for key, value in FORBIDDING.items()):
                raise LookupError(name)
            if facts["mounted"] != "yes":
                os.makedirs(place, exist_ok=True)
                self._system.nmount([("fstype", "zfs"), ("fspath", place), ("from", name)], 0)
        except (OSError, LookupError):
            super().mount(name)

    def unmount(self, name: str) -> bool:
        """Unmount a file system, never by force."""
        try:
            for mounted in self._system.mounts():
                if mounted.fstype == "zfs" and mounted.source == name:
                    self._system.unmount(mounted.fsid)
        except OSError as error:
            return False if error.errno == errno.EBUSY else super().unmount(name)
        return True


def _place_of(name: str, facts: Mapping[str, str]) -> str:
    """Return the mount point among the properties of a dataset. Raises LookupError when it has none."""
    if not facts["mountpoint"].startswith("/"):
        raise LookupError(name)
    return facts["mountpoint"]


def _text(key: str, given: Mapping[str, Property]) -> str:
    """Return a property as zfs-get(8) -p prints it. Raises LookupError for a number without a name."""
    if key not in given:
        return DEFAULTS.get(key, "-")
    value = given[key][0]
    return INDEX[key][value] if key in INDEX and isinstance(value, int) else str(value)


def _place(name: str, value: str | int, source: str, places: Mapping[str, str]) -> str:
    """Return where a file system is mounted, or would be.

    value, source: its mount point and what it has that from; all between them have it from there, too (zfsprops(7),
    "mountpoint"). LookupError when none of them is mounted: then the pool's altroot counts.
    """
    if not str(value).startswith("/"):  # none, legacy
        return str(value)
    if name in places:
        return places[name]
    above = os.path.dirname(name)
    if not above or not (source == "default" or name.startswith(f"{source}/")):
        raise LookupError(name)
    while above not in places and above != source and above:
        above = os.path.dirname(above)
    return places[above].rstrip("/") + name.removeprefix(above)


def before(cli: Cli) -> Cli:
    """Return zfs(8) with the kernel in front of it where that is possible."""
    library = zfs_library.load()
    return Kernel(cli, library, libc.load()) if library else cli
