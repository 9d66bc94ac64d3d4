"""Named volumes of a container: mounts of the type `volume` become binds.

A volume that no container has had gets what the image has at its place, owner and mode of the directory too, as with
podman and docker.
"""

from __future__ import annotations

import os

from runjail import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.storage.base import Store

KIND = "volume"


def resolve(mounts: list[dict[str, Any]], store: Store, root: str) -> None:
    """Make the volumes that mounts name by their source, and have them bound. root: the container's.

    Raises StorageError.
    """
    for mount in mounts:
        if mount.get("type") == KIND:

            def fill(path: str, place: str = mount["destination"]) -> None:
                _fill(root, place, path)

            mount["source"] = store.volumes().use(mount["source"], fill)
            mount["type"] = "bind"


def _fill(root: str, place: str, path: str) -> None:
    """Copy what a root has at a place; links of the image lead nowhere but into it. Raises OSError."""
    from runjail.storage.copy_tree import Copier

    opened = [rootfs.open_root(root)]
    try:
        found = rootfs.resolve(opened[0], place)
        try:
            opened.append(found.open_directory())
        finally:
            found.close()
        opened.append(os.open(path, rootfs.DIRECTORY))
        Copier(opened[1], opened[2]).copy()
    except (FileNotFoundError, NotADirectoryError):  # the image has nothing there that could be mounted on
        pass
    finally:
        for descriptor in opened:
            os.close(descriptor)
