"""Taking an id: many may try at once, while others delete. flock(2) on the directory decides."""

from __future__ import annotations

import os
import time

from runjail.container.container import Container, Runtime
from runjail.errors import ContainerExists, ContainerNotFound, HostError, reason

REFUSED = (1, 13, 30)  # EPERM, EACCES, EROFS
SECONDS = 30.0  # until whoever has locked a directory without facts writes some, or removes it
POLL = 0.001


def reserve(runtime: Runtime, container_id: str) -> Container:
    """Make the directory of a new container, or take one that is nobody's, and lock it.

    Raises UsageError for an id that cannot be one, ContainerExists, HostError when it cannot be made, or when what is
    left in it cannot be removed.
    """
    container = runtime.container(container_id)
    while True:
        _make(container.path, runtime.root)
        try:
            _take(container)
            return container
        except ContainerNotFound:  # a `delete` took it before our lock
            container.forget()
        except ContainerExists:
            container.forget()
            raise


def _make(path: str, root: str) -> None:
    try:
        if not os.path.isdir(root):
            os.makedirs(root, 0o700, exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError as error:
        found = error.filename
        if (not os.path.isdir(found) or os.path.islink(path)) and os.path.lexists(found):
            raise HostError(f"making {found}: it is not a directory") from None
    except OSError as error:
        hint = "who is not root has its own with XDG_RUNTIME_DIR or --root" if error.errno in REFUSED else None
        raise HostError(f"making {path}: {reason(error)}", hint) from error


def _take(container: Container) -> None:
    """Lock the directory and empty it, if it is nobody's.

    Raises ContainerExists for a container's, ContainerNotFound for one that was deleted before it was locked.
    """
    container.hold()
    deadline = time.monotonic() + SECONDS
    while not container.locked():  # by another creator, which writes facts at once, or by who removes it
        if container.exists() or time.monotonic() > deadline:
            raise ContainerExists(container.id)
        time.sleep(POLL)
    container.require_place()
    if container.exists():
        raise ContainerExists(container.id)
    container.clear()
