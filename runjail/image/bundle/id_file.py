"""The file of --cidfile: the id of a container, as long as there is the container.

The bundle says where it is before it is written, so whoever takes the bundle back, after a crash too, removes it.
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import StorageError, UsageError, reason

LARGEST = 1 << 16  # bytes of a bundle's mark
KEY = "cidfile"  # in the mark


def write(path: str, container_id: str) -> None:
    """Write a container's id into a new file. Raises UsageError when there is one, as podman does; StorageError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        why = f"--cidfile: {path} is there already"
        raise UsageError(why, "delete it, unless it belongs to a container that is in use") from None
    except OSError as error:
        raise StorageError(f"--cidfile: cannot write {path}: {reason(error)}") from error
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(container_id)


def remove(mark: str, owner: str) -> None:
    """Remove the file that a bundle's mark names, if it still has the id of the container that the mark names.

    owner: the key of the container's state directory in the mark. What cannot be read or removed stays.
    """
    try:
        with open(mark, "rb") as stream:
            found = jsonio.loads(stream.read(LARGEST))
        path = found.get(KEY) if isinstance(found, dict) else None
        if not isinstance(path, str) or not path:
            return
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(file, "rb") as stream:
            content = stream.read(LARGEST)
        if content == os.path.basename(found.get(owner, "")).encode():
            os.unlink(path)
    except (OSError, ValueError):
        pass
