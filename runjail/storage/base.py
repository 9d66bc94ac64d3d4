"""What everybody else knows of a store: layers by chain ID, and the roots of containers.

A layer is committed in one step (ZFS: the snapshot `@ready`; directories: a rename), so it is there whole or not at
all. Whoever dies on the way, at whatever instant, leaves something that the next `draft` of the same layer or `sweep`
removes: work is under flock(2), which ends with its holder.

Promises of whoever fills a draft: an entry that is there already is replaced and never written to. Only a directory
may get new attributes; every other entry may share its inode with lower layers, hard links included.
"""

from __future__ import annotations

from runjail import log
from runjail.errors import StorageError
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Protocol, Self

    from runjail.storage.changes import Change
    from runjail.storage.store_lock import Lock

    Report = Callable[[str], None]
    Fill = Callable[[str], None]
    Check = Callable[[str], None]
else:
    Protocol = object  # each run of an image would import typing for it

KEY_SIZE = 32  # bytes of an AES-256 key
HEX_DIGITS = {"sha256": 64, "sha512": 128}
_HEXADECIMAL = frozenset("0123456789abcdef")
_IN_PROPERTIES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
_IN_NAMES = _IN_PROPERTIES | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ+")
RESERVED = frozenset(("name", "chain", "seal"))  # properties that the store itself keeps


class LayerKey(Record):
    """Under which key layers are encrypted at rest. name: 4 to 40 hexadecimal digits; key: 32 bytes."""

    name: str
    key: bytes

    def __repr__(self) -> str:
        return f"LayerKey({self.name!r})"  # the key belongs into no log


class LayerInfo(Record):
    """A committed layer.

    chain, parent: chainIDs, parent is "" for a lowest layer. size: bytes that it adds to its parent; total: bytes of
    the whole tree, in a store of overlays of what it hides too. seal: name of its seal or "". created: seconds since
    the epoch. users: roots made of it.
    name: dataset or directory.
    """

    chain: str
    parent: str
    size: int
    total: int
    seal: str
    created: int
    users: tuple[str, ...]
    name: str


class RootfsInfo(Record):
    """A container's root.

    size: bytes it adds to its layer; in a directory those when it was made, of the whole copy if it is one. quota: most
    bytes it may add, 0 without. created: seconds since the epoch. path: the directory. dataset: of ZFS, or "".
    properties: as in RootfsUse.
    """

    name: str
    chain: str
    path: str
    size: int
    quota: int
    properties: Mapping[str, str]
    created: int
    dataset: str


class VolumeInfo(Record):
    """A named volume. path: its directory; dataset: of ZFS, or ""."""

    name: str
    path: str
    dataset: str


class RootfsUse(Record):
    """What a root is made for.

    size: quota in bytes, 0 for none. properties: texts without control characters by name ([a-z0-9._-], but for name,
    chain and seal). transient: it goes when its program ends, so nothing of it has to reach the disk, whatever is
    synced inside; a store that cannot make use of that ignores it. label: SELinux's, of all files (Linux), by a store
    that `labels`. report: told how many bytes more of how many are copied, from any thread, by a store that copies.
    """

    size: int = 0
    properties: Mapping[str, str] = {}
    transient: bool = False
    label: str = ""
    report: Callable[[int, int], None] | None = None


ANY_USE = RootfsUse()


class LayerWriter:
    """A layer in the making. path: the directory to apply it in, which shows the parent's whole tree.

    A context manager: leaving it without `commit` is `abort`. Nobody else makes this layer meanwhile.
    """

    def __init__(self, path: str, *locks: Lock) -> None:
        self.path, self._locks, self._open = path, locks, True

    def commit(self) -> None:
        """Make the layer exist. Raises StorageError, and the layer does not exist then."""
        if not self._open:
            raise StorageError("this layer has been committed or given up already")
        self._keep()
        self._close()

    def abort(self) -> None:
        """Take everything back. Raises StorageError when something stays; sweep tries again."""
        if self._open:
            try:
                self._drop()
            finally:
                self._close()

    def _close(self) -> None:
        self._open = False
        for lock in self._locks:
            lock.release()

    def _keep(self) -> None:
        raise NotImplementedError

    def _drop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.abort()
        except StorageError as failure:
            if error is None:
                raise
            log.debug(f"{failure}")  # the reason for giving up is what people should read


def free(_path: str) -> None:
    """Take a volume for one that nobody uses."""


class Volumes(Protocol):
    """The named volumes of a store. Every method raises StorageError, also for what cannot be a name."""

    def make(self, name: str) -> str:
        """Make a volume where there is none. Returns its directory."""

    def use(self, name: str, fill: Fill) -> str:
        """Do so for a container whose bundle names it by now: `fill` gets the directory of one that none has had."""

    def all(self) -> list[VolumeInfo]:
        """Return all volumes, sorted by name."""

    def remove(self, name: str, check: Check = ...) -> None:
        """Remove a volume. Raises VolumeNotFound, InUse.

        check: raises InUse when a bundle names its directory. `use` waits meanwhile, and until the volume is gone.
        """


class Store(Protocol):
    """Where layers and roots are. Every method raises StorageError when the storage cannot do it.

    Chains are chainIDs (`sha256:HEX`), names of roots are container IDs; what is neither is a StorageError.
    """

    kind: str  # of open.DRIVERS: "zfs", "overlay", "dir"
    apart: bool  # a layer costs its own files only, so there may be one for each; else it costs those of all below it
    labels: bool  # a root is mounted with what it is made for, so all its files can have one SELinux label
    location: str  # what open_store takes: "zfs:tank/runjail", "dir:/var/db/runjail"

    def content(self) -> str:
        """Return the directory for blobs and documents; mode 0700, made when missing."""

    def bundles(self) -> str:
        """Return the directory for the bundles of `run --image`; mode 0700, made when missing."""

    def has_layer(self, chain: str, seal: LayerKey | None = None) -> bool:
        """Whether this layer is committed."""

    def draft(self, chain: str, parent: str | None, seal: LayerKey | None = None) -> LayerWriter | None:
        """Begin a layer on top of `parent`, which must be committed under the same seal.

        None: it is there. Waits while another process makes it. What a process that died has left is removed.
        """

    def layers(self) -> list[LayerInfo]:
        """Return all committed layers, sorted by name; parents need not come first."""

    def remove_layer(self, info: LayerInfo) -> None:
        """Remove a layer; one that is gone is success. Raises InUse while a root or a higher layer is on it."""

    def create_rootfs(self, name: str, chain: str, seal: LayerKey | None = None, use: RootfsUse = ...) -> str:
        """Make a container's root out of a layer and return its path, mounted.

        Raises StorageError when there is such a root already.
        """

    def remove_root(self, name: str) -> None:
        """Remove a root; one that is gone is success.

        Raises InUse when something in it stays mounted or busy; `sweep` removes it then, as soon as it is free.
        """

    def root(self, name: str) -> RootfsInfo | None:
        """Return one root."""

    def roots(self) -> list[RootfsInfo]:
        """Return all roots, sorted by name."""

    def changes(self, name: str) -> list[Change]:
        """Return what differs between a root and its layer, sorted by path. Raises StorageError without such a root."""

    def volumes(self) -> Volumes:
        """Return the named volumes, which nothing but their own `remove` takes away."""

    def sweep(self) -> list[str]:
        """Remove half-made layers and roots whose makers died. Returns the datasets or directories removed."""


def chain_name(chain: str) -> str:
    """Return the bare hexadecimal digits of a chainID. Raises StorageError for anything else."""
    algorithm, _, digits = chain.partition(":")
    if len(digits) != HEX_DIGITS.get(algorithm) or not _HEXADECIMAL.issuperset(digits):
        raise StorageError(f"{chain!r} is not a chain ID")
    return digits


def chain_of(digits: str) -> str:
    """Return the chainID whose chain_name this is, "" when it is none."""
    for algorithm in HEX_DIGITS:
        try:
            return f"{algorithm}:{chain_name(f'{algorithm}:{digits}')}"
        except StorageError:
            pass
    return ""


def check_root_name(name: str) -> str:
    """Return the name of a root. Raises StorageError when it is not a container ID."""
    if not 0 < len(name) <= 255 or not _IN_NAMES.issuperset(name) or name in (".", ".."):
        raise StorageError(f"{name!r} cannot be the name of a root")
    return name


def check_volume_name(name: str) -> str:
    """Return the name of a volume. Raises StorageError for what podman, ZFS and file systems would not all take."""
    if not 0 < len(name) <= 64 or not (_IN_NAMES - {"+"}).issuperset(name) or not name[0].isalnum():
        why = "it begins with a letter or digit, and has 64 of these and _ . - at most; ./NAME is a directory here"
        raise StorageError(f"{name[:80]!r} cannot be the name of a volume", why)
    return name


def check_seal(seal: LayerKey) -> LayerKey:
    """Return the seal. Raises StorageError when its name or key is not of the right form."""
    if not 4 <= len(seal.name) <= 40 or not _HEXADECIMAL.issuperset(seal.name):
        raise StorageError(f"{seal.name!r} cannot be the name of a seal")
    if len(seal.key) != KEY_SIZE:
        raise StorageError(f"the key of seal {seal.name} must have {KEY_SIZE} bytes")
    return seal


def check_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Return a copy. Raises StorageError for names and values that ZFS would not give back as they are."""
    for name, value in properties.items():
        if not 0 < len(name) <= 100 or not _IN_PROPERTIES.issuperset(name) or name[0] in "._-" or name in RESERVED:
            raise StorageError(f"{name!r} cannot be the name of a property")
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value) or len(value.encode()) > 4096:
            raise StorageError(f"property {name} has control characters or is too long")
    return dict(properties)
