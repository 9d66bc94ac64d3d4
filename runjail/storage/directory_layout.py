"""The directories of a store without ZFS: made aside, renamed when whole, removed by way of trash."""

from __future__ import annotations

import os
import time

from runjail import attributes, jsonio
from runjail.errors import StorageError, reason
from runjail.rootfs import DIRECTORY
from runjail.storage import copy_tree, remove_tree
from runjail.storage.durable import sync_directory, sync_tree
from runjail.storage.store_lock import StoreDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class DirectoryLayout:
    """Where things are in a store, and what is done to whole directories. Every method raises StorageError."""

    def __init__(self, home: StoreDirectory) -> None:
        self._home = home
        for name in ("layers", "containers", "making", "trash"):
            home.directory(name)

    def layer(self, digits: str) -> str:
        """Return the directory of a layer."""
        return os.path.join(self._home.path, "layers", digits)

    def container(self, name: str) -> str:
        """Return the directory of a container."""
        return os.path.join(self._home.path, "containers", name)

    def making(self, kind: str, name: str) -> str:
        """Return the directory of something that is being made."""
        return os.path.join(self._home.path, "making", f"{kind}+{name}")

    def names(self, directory: str) -> list[str]:
        """Return what is in one of the store's directories, sorted."""
        return sorted(os.listdir(self._home.directory(directory)))

    def fresh(self, making: str, *names: str) -> None:
        """Make the directory of something new, and these in it, in place of what a process that died has left."""
        self.discard(making)
        try:
            os.mkdir(making, 0o700)
            _disinherit(making)
            for name in names:
                os.mkdir(f"{making}/{name}")
                os.chmod(f"{making}/{name}", 0o755)  # whatever umask our caller has
        except OSError as error:
            raise StorageError(f"{making}: cannot be made: {reason(error)}") from error

    def link(self, place: str, making: str) -> set[int]:
        """Fill a tree with links to another's files. Returns the inodes that both have."""
        copier = self._copier(place, making, "linked", None)
        return copier.linked

    def copy(self, place: str, making: str, report: Callable[[int], None] | None = None) -> int:
        """Fill a tree with copies of another's files. Returns their bytes, of which `report` is told meanwhile."""
        return self._copier(place, making, "copied", report).total

    def _copier(self, place: str, making: str, how: str, report: Callable[[int], None] | None) -> copy_tree.Copier:
        descriptors: list[int] = []
        try:
            descriptors += [os.open(f"{place}/root", DIRECTORY)]
            descriptors += [os.open(f"{making}/root", DIRECTORY)]
            copier = copy_tree.Copier(descriptors[0], descriptors[1], report=report)
            if how == "linked":
                copier.link()
            else:
                copier.copy()
        except OSError as error:
            raise StorageError(f"{place}: cannot be {how}: {reason(error)}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return copier

    def measure(self, tree: str, shared: set[int]) -> tuple[int, int]:
        """Return the bytes that a tree adds to files that are known, and all its bytes."""
        try:
            root = os.open(tree, DIRECTORY)
            try:
                return copy_tree.measure(root, shared)
            finally:
                os.close(root)
        except OSError as error:
            raise StorageError(f"{tree}: cannot be measured: {reason(error)}") from error

    def keep(self, making: str, place: str, facts: dict[str, Any], document: str, *, durable: bool) -> None:
        """Write down what is known of a tree and put it where it counts: the commit.

        durable: with all its files on the disk, so that a power cut leaves all of it, or nothing that counts.
        """
        try:
            with open(f"{making}/{document}", "w", encoding="utf-8") as file:
                file.write(jsonio.dumps({**facts, "created": int(time.time())}))
            if durable:
                sync_tree(making)
            os.rename(making, place)
            if durable:
                sync_directory(os.path.dirname(place))
        except OSError as error:
            raise StorageError(f"{place}: cannot be completed: {reason(error)}") from error

    def document(self, place: str, name: str) -> dict[str, Any] | None:
        """Read what is known of a layer or root; None when it has gone, or is none of ours.

        A document that a power cut left empty is none: what it belongs to is as good as half made.
        """
        try:
            with open(f"{place}/{name}", "rb") as file:
                found = jsonio.loads(file.read())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{place}/{name}: cannot be read: {reason(error)}") from error
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def discard(self, place: str) -> bool:
        """Remove a directory of the store; False when it is not there. Raises InUse for one with mounts in it."""
        if not os.path.isdir(place):
            return False
        self.free(place)
        item = f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            os.rename(place, os.path.join(self._home.path, "trash", item))
        except OSError as error:
            raise StorageError(f"{place}: cannot be removed: {reason(error)}") from error
        return self.empty(item)

    def free(self, place: str) -> None:
        """Have nothing mounted in a directory that goes. Raises InUse."""
        remove_tree.refuse_mounts(place)

    def empty(self, item: str) -> bool:
        """Remove what is in `trash` by this name."""
        try:
            remove_tree.remove(os.path.join(self._home.path, "trash"), item)
        except OSError as error:
            raise StorageError(f"{self._home.path}/trash: cannot be emptied: {reason(error)}") from error
        return True


def _disinherit(directory: str) -> None:
    """Take from a new directory what the one above handed down, so that nothing below has it: images say what that has.

    POSIX ACLs (Linux: acl(5)), a set-group-ID bit, and a group. Raises OSError.
    """
    attributes.remove_acls(directory)
    found = os.stat(directory)
    if found.st_gid != os.getegid():
        os.chown(directory, -1, os.getegid())
    if found.st_mode & 0o7777 != 0o700:
        os.chmod(directory, 0o700)
