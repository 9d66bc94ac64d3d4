"""Named volumes of a container: mounts of the type `volume` become binds.

An empty volume that no container has had gets what the image has at its place, owner and mode of the directory too,
as with podman and docker.
"""

from __future__ import annotations

import os

from runjail import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.storage.base import Store

KIND = "volume"


def resolve(mounts: list[dict[str, Any]], store: Store) -> list[tuple[str, str]]:
    """Make the volumes that mounts name by their source, and have them bound. Returns names and destinations.

    Raises StorageError.
    """
    named = [mount for mount in mounts if mount.get("type") == KIND]
    found = [(mount["source"], mount["destination"]) for mount in named]
    for mount in named:
        mount |= {"source": store.volumes().make(mount["source"]), "type": "bind"}
    return found


def fill(named: list[tuple[str, str]], store: Store, root: str) -> None:
    """Give new volumes what a container's root has. Its config.json names them by now: none is removed from here on.

    named: what `resolve` returned. Raises StorageError.
    """
    for name, place in named:

        def copy(path: str, place: str = place) -> None:
            _fill(root, place, path)

        store.volumes().use(name, copy)


def _fill(root: str, place: str, path: str) -> None:
    """Copy what a root has at a place; links of the image lead nowhere but into it. Raises OSError."""
    from runjail.storage.copy_tree import Copier

    opened = [rootfs.open_root(root)]
    try:
        source = _directory(opened[0], place)
        if source is not None:
            opened += [source]
            opened += [os.open(path, rootfs.DIRECTORY)]
            Copier(source, opened[2]).copy()
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _directory(root: int, place: str) -> int | None:
    """Open a directory of a root; None where the image has none that could be mounted on. Raises OSError."""
    try:
        found = rootfs.resolve(root, place)
        try:
            return found.open_directory()
        finally:
            found.close()
    except (FileNotFoundError, NotADirectoryError):
        return None
