"""Taking mounts away again: by file system id, newest first, patiently and then by force."""

import errno
import os
import time

from runjail import rootfs
from runjail.errors import HostError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.base import Note
    from runjail.host.freebsd_structs import Mounted
    from runjail.host.libc_freebsd import Libc

PATIENCE = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # seconds before each try to unmount; then by force


def is_below(path: str, directory: str) -> bool:
    """Say whether a path of the mount table lies strictly below a directory."""
    return path.startswith(directory.rstrip("/") + "/") and path != directory


def fsids_below(mounts: "list[Mounted]", root: str) -> list[list[int]]:
    """Return the ids of those mounts that lie below a directory, as JSON data."""
    return [list(mounted.fsid) for mounted in mounts if is_below(mounted.path, root)]


def sweep(libc: "Libc", root: str, keep: "list[list[int]]", itself: bool = False) -> None:
    """Unmount everything below `root` that is not in `keep`, newest first; by force what stays busy.

    itself: also what is mounted on `root`. A dying jail keeps its root busy for a moment. Raises HostError.
    """
    kept = {(a, b) for a, b in keep}
    left: list[str] = []
    for number, pause in enumerate((*PATIENCE, 0.0)):
        found = [
            mounted
            for mounted in libc.mounts()
            if mounted.fsid not in kept and (is_below(mounted.path, root) or (itself and mounted.path == root))
        ]
        if not found:
            return
        time.sleep(pause)
        left = [text for mounted in reversed(found) if (text := _unmount(libc, mounted, number == len(PATIENCE)))]
    if left:
        raise HostError("; ".join(left))


def _unmount(libc: "Libc", mounted: "Mounted", force: bool) -> str:
    """Unmount one file system. Returns "" when it is gone, otherwise what holds it."""
    try:
        libc.unmount(mounted.fsid, force)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # not mounted any more
            return f"unmount {mounted.path}: {reason(error)}"
    return ""


def remove_view(libc: "Libc", note: "Note") -> None:
    """Take the view away, with anything that is still mounted below it."""
    target = os.path.realpath(note["target"])
    sweep(libc, target, [], itself=True)
    try:
        os.rmdir(target)
    except FileNotFoundError:
        pass


def remove_mount_point(note: "Note") -> None:
    """Remove a mount point that was made for the container, if it is empty."""
    try:
        root = rootfs.open_root(note["root"])
    except OSError:  # the root directory itself is gone
        return
    try:
        rootfs.remove_made(root, note["path"])
    finally:
        os.close(root)
