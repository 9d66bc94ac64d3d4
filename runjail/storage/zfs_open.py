"""Open a ZFS store, and find out whether `auto` means one on this machine."""

from __future__ import annotations

import os

from runjail.errors import StorageError, StoreNotFound
from runjail.storage import zfs_cli, zfs_core
from runjail.storage.store_lock import StoreDirectory
from runjail.storage.zfs import ZfsStore
from runjail.storage.zfs_encryption import make_parent
from runjail.target import FREEBSD, this_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.storage.base import Report
    from runjail.storage.zfs_cli import Cli

    FileSystem = tuple[str, str, bool]  # dataset, its mount point, whether it is mounted

PARTS = ("layers", "containers")
FACTS = ("type", "mountpoint", "mounted")
LONGEST = 160  # of a store's dataset: names end at 255, and a sealed layer adds 94
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
IN_NAMES = LETTERS | frozenset("0123456789_.: -")


def open_at(dataset: str, *, default: str, warn: Report, zfs: Cli | None = None, make: bool = True) -> ZfsStore:
    """Open the store in a dataset, which is created when only its parent is there, unless make is False.

    Raises StorageError, StoreNotFound.

    default: where to mount it when it would inherit no mount point.
    """
    if not _is_name(dataset):
        raise StorageError(f"{dataset!r} cannot be a dataset for a store", "a store is zfs:POOL/NAME")
    cli = zfs or _find()
    if not cli:
        raise StorageError("there is no zfs(8) here", "a store without ZFS is dir:/ABSOLUTE/PATH")
    parts = [f"{dataset}/{part}" for part in PARTS]
    facts = cli.read([dataset, *parts], FACTS)
    if dataset not in facts:
        if not make:
            raise StoreNotFound(f"zfs:{dataset}")
        _create(cli, dataset, default)
        facts = cli.read([dataset], FACTS)
    place = _mounted(cli, dataset, facts[dataset], default)
    home = StoreDirectory(place, f"zfs:{dataset}", make=make or all(name in facts for name in parts), known=True)
    for part, name in zip(PARTS, parts, strict=True):
        home.directory(part)  # mode 0700: users of the host must not reach set-uid programs in layers
        if name not in facts:
            make_parent(cli, name)
    return ZfsStore(dataset, home, cli, (lambda: zfs_core.load(cli, dataset, warn)) if cli.starts_programs else None)


def _find() -> Cli | None:
    """Return what is quickest here to ask ZFS, None where there is none."""
    cli = zfs_cli.find()
    if cli and this_system() is FREEBSD:
        from runjail.storage import zfs_kernel

        return zfs_kernel.before(cli)
    return cli


def _is_name(dataset: str) -> bool:
    """Whether a dataset may have this name (zfs-create(8)) and a store's datasets below it names that are not too long.

    It is told without regular expressions: every run of an image asks this module whether its store is on ZFS.
    """
    parts = dataset.split("/")
    known = all(part and part != ".." and IN_NAMES.issuperset(part) for part in parts)
    return known and dataset[0] in LETTERS and len(dataset) <= LONGEST


def _create(cli: Cli, dataset: str, default: str) -> None:
    above = os.path.dirname(dataset)
    parent = cli.read([above], FACTS).get(above) if above else None
    if not parent:
        hint = f"zfs create -p {above}" if "/" in above else "zpool list shows the pools that are there"
        raise StorageError(f"the dataset {above or dataset} does not exist", hint)
    place = {} if parent["mountpoint"].startswith("/") else {"mountpoint": default}
    cli.create(dataset, {"atime": "off", **place})


def _mounted(cli: Cli, dataset: str, found: dict[str, str], default: str) -> str:
    """Mount the store's dataset if need be. Returns where it is."""
    if found["type"] != "filesystem":
        raise StorageError(f"{dataset} is a {found['type']}, not a file system")
    if not found["mountpoint"].startswith("/"):
        raise StorageError(f"{dataset} has no mount point", f"zfs set mountpoint={default} {dataset}")
    if found["mounted"] != "yes":
        cli.mount(dataset)
    return found["mountpoint"]


def suits(default: str, holds: str) -> tuple[str, str]:
    """Return the location of the ZFS store that `auto` means here, "" for none, and why: see open.DRIVERS."""
    cli = zfs_cli.find()
    return decide(cli.filesystems() if cli else [], default, holds)


def decide(datasets: list[FileSystem], default: str, holds: str = "") -> tuple[str, str]:
    """Choose among the machine's file systems."""
    stores = [name for name, _place, _mounted in datasets if name.count("/") == 1 and name.endswith("/runjail")]
    if stores:
        return f"zfs:{stores[0]}", "there is such a dataset"
    at = [name for name, place, mounted in datasets if holds == "zfs" and mounted and place == default]
    if at:
        return f"zfs:{at[0]}", "layers are there already"
    if not holds and (pool := _pool_of(datasets, default)):
        return f"zfs:{pool}/runjail", f"{default} lies on ZFS"
    return "", "it is on no ZFS" if datasets else "there is no ZFS dataset"


def _pool_of(datasets: list[FileSystem], path: str) -> str:
    """Return the pool of the file system that a path is on, or would be; "" when that is not ZFS."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    for name, place, mounted in datasets:
        if mounted and os.path.isdir(place) and os.stat(place).st_dev == device:
            return name.partition("/")[0]
    return ""
