"""Taking mounts away again: by file system id, newest first, patiently and then by force."""

from __future__ import annotations

import errno
import os
import time

from runjail.errors import HostError, reason
from runjail.host.freebsd import owners
from runjail.host.freebsd.lock import MachineLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runjail.host.base import Note
    from runjail.host.freebsd.change import Change
    from runjail.host.freebsd.libc import Libc
    from runjail.host.freebsd.structs import MountEntry

PATIENCE = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # seconds before each try to unmount; then by force


def is_below(path: str, directory: str) -> bool:
    """Say whether a path of the mount table lies strictly below a directory."""
    return path.startswith(directory.rstrip("/") + "/") and path != directory


def fsids_below(mounts: list[MountEntry], root: str, boot: str, state: str) -> list[list[int]]:
    """Return the ids of those mounts below a directory that are not another container's, as JSON data.

    state: the state directory of the container that asks.
    """
    owner = owners.token(state)
    return [
        list(mounted.fsid)
        for mounted in mounts
        if is_below(mounted.path, root) and owners.read(mounted.fsid, boot) in (None, owner)
    ]


def take_back(change: Change, note: Note) -> None:
    """Unmount what a step of the container has mounted, and what was mounted in it since."""
    from runjail.host.freebsd.mount_points import take_back_left

    unmount_below(change.libc, note["below"], note["keep"], change.boot_id, change.host_state.state)
    take_back_left(change)


def unmount_below(libc: Libc, root: str, keep: list[list[int]], boot: str, state: str) -> None:
    """Unmount what is below `root`, not in `keep`, and not another container's, newest first.

    By force what stays busy, unless another container has this root and holds it: then it is left without an owner, to
    the last one. A dying jail keeps its root busy for a moment. state: the container's. Raises HostError.
    """
    owner = owners.token(state)
    kept = {(a, b) for a, b in keep}

    def find(mounts: list[MountEntry]) -> tuple[list[MountEntry], bool]:
        below = [mounted for mounted in mounts if mounted.fsid not in kept and is_below(mounted.path, root)]
        return owners.choose(libc, below, root, boot, owner) if below else ([], True)

    _unmount_all(libc, find, boot)


def clear(libc: Libc, directory: str) -> None:
    """Unmount everything on a directory of ours and below it, newest first; by force what stays busy."""

    def find(mounts: list[MountEntry]) -> tuple[list[MountEntry], bool]:
        return [mounted for mounted in mounts if mounted.path == directory or is_below(mounted.path, directory)], True

    _unmount_all(libc, find, "")


def _unmount_all(libc: Libc, find: Callable[[list[MountEntry]], tuple[list[MountEntry], bool]], boot: str) -> None:
    """find: returns which of the mounts are to go, and whether they may go by force.

    boot: for what is written down about mounts.
    """
    left: list[str] = []
    force = True
    for number, pause in enumerate((*PATIENCE, 0.0)):
        time.sleep(pause)
        with MachineLock("mounts"):  # no runjail mounts between our look at the table and the unmounting
            owners.settle(libc, boot)
            mounts = libc.mounts()
            found, force = find(mounts)
            if not found:
                owners.forget_gone(mounts, boot)
                return
            last = number == len(PATIENCE)
            left = [text for mounted in reversed(found) if (text := _unmount(libc, mounted, boot, last and force))]
            if not left:
                owners.forget_gone([mounted for mounted in mounts if mounted not in found], boot)
                return
            for mounted in found if last and not force else ():
                owners.leave(mounted.fsid, boot)
    if force:
        raise HostError("; ".join(left))


def _unmount(libc: Libc, mounted: MountEntry, boot: str, force: bool) -> str:
    """Unmount one file system. Returns "" when it is gone, otherwise what holds it."""
    try:
        libc.unmount(mounted.fsid, force)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # not mounted any more
            return f"unmount {mounted.path}: {reason(error)}"
    owners.forget(mounted.fsid, boot)
    return ""


def remove_view(change: Change, note: Note) -> None:
    """Take the view away, with anything that is still mounted below it."""
    target = os.path.realpath(note["target"])
    clear(change.libc, target)
    try:
        os.rmdir(target)
    except FileNotFoundError:
        pass
