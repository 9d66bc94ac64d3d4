"""The root of a container as an open directory: with what is mounted in it while it runs."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.container.status import alive, status
from runjail.errors import HostError, reason
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runjail.container.container import Container


def open_root(container: Container) -> int:
    """Open the root of a container that has been loaded. Raises HostError.

    Where containers have a mount namespace, that of init shows volumes; otherwise, and of a stopped one, it is the
    directory that the bundle names.
    """
    path, lives = container.host_state.source, status(container) in ("running", "paused")
    if lives and not TARGETS[container.host.os].jails:
        path = f"/proc/{container.host_state.pid}/root"
    try:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot open the root of container {container.id}: {reason(error)}") from error
    if lives and not alive(container):  # somebody else may have had the pid
        os.close(root)
        raise HostError(f"container {container.id} has just stopped", "try again")
    return root


def owner(container: Container) -> tuple[int, int]:
    """Return user and group, as the host knows them, of the container's own process."""
    document = jsonio.loads(container.config())
    user = container.process().user
    linux = document.get("linux") or {}
    return _mapped(user.uid, linux.get("uidMappings")), _mapped(user.gid, linux.get("gidMappings"))


def _mapped(number: int, mappings: Any) -> int:
    """Return the number outside of a user namespace; one that is not mapped stays as it is."""
    for entry in mappings or ():
        first = entry["containerID"]
        if first <= number < first + entry["size"]:
            return int(entry["hostID"] + number - first)
    return number
