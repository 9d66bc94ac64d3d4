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
    from runjail.storage.zfs_library import ZfsLibrary

# What zfs.get_prop of zfs-program(8) knows as zfs-get(8) -p prints it, and the two that are seen in the mount table.
# Not `encryption`: older kernels say "off" of each dataset (openzfs/zfs issue 12337, mended by its change 17280).
KNOWN = {"type", "used", "referenced", "origin", "creation", "mountpoint", "mounted"}
FORBIDDING = {"canmount": "off", "jailed": "on", "overlay": "off"}  # what zfs-mount(8) heeds, and the kernel does not
READ = r"""
local given, lines = ..., {}
local function note(name)
  for key in string.gmatch(given["keys"], "[^\n]+") do
    local value, source = zfs.get_prop(name, key)
    lines[#lines + 1] = table.concat({name, key, source or "", value or "-"}, "\t")
  end
end
local function look(name)
  note(name)
  -- OpenZFS panics where it lists what is in a dataset whose name leaves no room for that, as nothing can be
  if given["recursive"] and not string.find(name, "@", 1, true) and #name < 254 then
    -- zfs-get(8) lists them, too; zfs.get_prop knows nothing of them
    for bookmark in zfs.list.bookmarks(name) do error(bookmark) end
    for snapshot in zfs.list.snapshots(name) do note(snapshot) end
    for child in zfs.list.children(name) do look(child) end
  end
end
for name in string.gmatch(given["names"], "[^\n]+") do
  if zfs.exists(name) then look(name) end
end
return table.concat(lines, "\n")
"""


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
        """Do it; LookupError when it cannot be told where a file system would be mounted."""
        asked = {"type": None, **dict.fromkeys(key for key in properties if key != "mounted")}
        given = {"names": "\n".join(names), "keys": "\n".join(asked)} | ({"recursive": "yes"} if recursive else {})
        text = self._library.program(names[0].partition("/")[0], READ, given)
        places = self._places()
        found: Facts = {}
        for line in text.splitlines():
            name, key, source, value = line.split("\t", 3)
            if key == "mountpoint" and value.startswith("/"):
                value = _place(name, source, places)
            found.setdefault(name, {})[key] = value
        for name, facts in found.items():
            mounted = "yes" if name in places else "no"
            facts["mounted"] = mounted if facts["type"] == "filesystem" else "-"
        return {name: {key: facts[key] for key in properties} for name, facts in found.items()}

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


def _place(name: str, source: str, places: Mapping[str, str]) -> str:
    """Return where a file system is mounted, or would be.

    source: what it has its mount point from; all between them have it from there, too (zfsprops(7), "mountpoint").
    LookupError when none of them is mounted: then the pool's altroot counts.
    """
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
