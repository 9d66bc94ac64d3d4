"""The root of a container as an open directory: with what is mounted in it while it runs."""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.container.status import alive, status
from runjail.errors import HostError, reason
from runjail.spec.id_mappings import translate
from runjail.spec.parse import parse
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    spec = parse(jsonio.loads(container.config()), container.host.os)
    assert spec.process, "create has seen to it"
    user, mappings = spec.process.user, spec.linux.mappings
    if not mappings:
        return user.uid, user.gid
    uid, gid = translate(mappings.uids, user.uid), translate(mappings.gids, user.gid)
    assert uid is not None and gid is not None, "the plan has seen to it"
    return uid, gid
