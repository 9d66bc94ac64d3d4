"""The part of zfs(8) that libzfs_core has, through OpenZFS's own pyzfs.

It can create, clone, snapshot, destroy, and say what exists. libzfs_core neither mounts, nor lists, nor sets properties
later. Its calls save a program each, but importing it costs as much as thirty programs, so it is for making layers,
which are many, and not for the one clone of a container.
"""

from __future__ import annotations

import errno

from runjail.errors import InUse, StorageError
from runjail.storage.zfs_cli import Cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

ONOFF = {"off": 0, "on": 1}
NUMBERS = {  # zfs_prop.h and zfs.h: index properties
    "atime": ONOFF,
    "readonly": ONOFF,
    "canmount": {**ONOFF, "noauto": 2},
    "sync": {"standard": 0, "always": 1, "disabled": 2},
}
SIZES = ("quota",)


class Core(Cli):
    """zfs(8) with libzfs_core in front of it."""

    def __init__(self, cli: Cli, library: Any) -> None:
        super().__init__(cli._zfs_path, cli._zpool_path, cli._run)
        self._library = library

    def exists(self, name: str) -> bool:
        """Whether there is this dataset or snapshot."""
        return bool(self._library.lzc_exists(name.encode()))

    def create(self, name: str, properties: Mapping[str, str], key: bytes = b"") -> None:
        """Create a file system, which is not mounted. Encryption roots are left to zfs(8)."""
        if key:
            super().create(name, properties, key)
        else:
            self._try("create", name, lambda: self._library.lzc_create(name.encode(), "zfs", _numbers(properties)))

    def clone(self, snapshot: str, name: str, properties: Mapping[str, str]) -> None:
        """Clone a snapshot; the clone is not mounted."""
        call = self._library.lzc_clone
        self._try("clone", name, lambda: call(name.encode(), snapshot.encode(), _numbers(properties)))

    def snapshot(self, name: str) -> None:
        """Take a snapshot: `DATASET@NAME`."""
        self._try("snapshot", name, lambda: self._library.lzc_snapshot([name.encode()]))

    def destroy(self, name: str) -> bool:
        """Destroy one dataset, unmounted by now, or one snapshot. Raises InUse when something depends on it."""
        try:
            if "@" in name:
                self._library.lzc_destroy_snaps([name.encode()], False)
            else:
                self._library.lzc_destroy(name.encode())
        except self._library.exceptions.ZFSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno == errno.EEXIST:  # SnapshotIsCloned
                raise InUse(f"{name} is in use: {_message(error)}") from error
            if error.errno != errno.ENOENT:
                raise StorageError(f"destroy {name}: {_message(error)}") from error
        return True

    def _try(self, verb: str, name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except self._library.exceptions.ZFSError as error:
            raise StorageError(f"{verb} {name}: {_message(error)}") from error


def _message(error: Any) -> str:
    """Return the message of a ZFSError, of its first cause where it has several."""
    first = (getattr(error, "errors", None) or [error])[0]
    return str(first.message)


def as_numbers(properties: Mapping[str, str]) -> dict[str, int | str]:
    """Return properties as the kernel has them: sizes and index properties are numbers."""
    found: dict[str, int | str] = {}
    for key, value in properties.items():
        if key in NUMBERS:
            found[key] = NUMBERS[key].get(value, value)  # ZFS says what is wrong with others
        else:
            found[key] = int(value) if key in SIZES else value
    return found


def _numbers(properties: Mapping[str, str]) -> dict[bytes, int | bytes]:
    """Return them as pyzfs takes them: texts are bytes."""
    found = as_numbers(properties)
    return {key.encode(): value if isinstance(value, int) else value.encode() for key, value in found.items()}


def _is_safe(library: Any) -> bool:
    """Whether it hands lzc_create the five arguments that it takes since OpenZFS 2.0."""
    code = getattr(getattr(library, "lzc_create", None), "__code__", None)
    return hasattr(library, "lzc_destroy") and "key" in getattr(code, "co_varnames", ())


def load(cli: Cli, dataset: str, warn: Callable[[str], None]) -> Cli:
    """Return libzfs_core where it is there and safe, and sees the same ZFS as zfs(8); otherwise zfs(8).

    dataset: one that exists. PyPI's pyzfs 0.2.3 calls today's library with too few arguments, which kills Python.
    """
    try:
        import libzfs_core
    except (ImportError, OSError, AttributeError):  # cffi or the C library is missing, or too old for it
        return cli
    if not _is_safe(libzfs_core):
        warn("pyzfs is too old to be safe: zfs(8) is used instead; OpenZFS's own pyzfs, 2.0 or later, would be used")
        return cli
    try:
        return Core(cli, libzfs_core) if libzfs_core.lzc_exists(dataset.encode()) else cli
    except (libzfs_core.exceptions.ZFSError, OSError, AttributeError):
        return cli
