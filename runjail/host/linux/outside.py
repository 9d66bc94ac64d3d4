"""What is opened and loaded before a process enters a user namespace, where the host is out of reach.

The source of a bind mount may be in a directory of root's. It is opened as a mount that is at no place yet, and init
attaches it (open_tree(2), move_mount(2), as runc has it since 1.2).
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host.linux import libc, libc_mounts
from runjail.steps import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail import rootfs
    from runjail.steps import Step

MODULES = ("cgroups", "join", "mounts", "network", "proc", "reaper", "rights", "root")  # besides those of steps
OTHERS = ("runjail.host.reaper", "encodings.ascii")  # createContainer hooks have a reaper; files of /proc are ASCII


def load(performers: Sequence[str]) -> None:
    """Import what performs steps inside, modules of ours: Python's may lie where only the host's root reads them."""
    for module in (*(f"runjail.host.linux.{own}" for own in (*performers, *MODULES)), *OTHERS):
        __import__(module)


def open_trees(steps: Sequence[Step], propagation: str) -> dict[int, int]:
    """Open the sources of all bind mounts. Returns descriptors by the id() of their steps.

    propagation: linux.rootfsPropagation. None for who may not: what it can read it can mount later as well.
    """
    trees: dict[int, int] = {}
    kind = libc.MS_PRIVATE if propagation == "rprivate" else libc.MS_SLAVE  # no mount from inside reaches the host
    try:
        for step in steps:
            if isinstance(step, Mount) and step.fstype == "bind":
                trees[id(step)] = _open(step, kind)
    except PermissionError:
        close(trees)
    except BaseException:
        close(trees)
        raise
    return trees


def _open(step: Mount, propagation: int) -> int:
    try:
        tree = libc_mounts.open_tree(step.source, step.recursive)
        try:
            libc_mounts.mount_setattr(tree, 0, propagation, recursive=True)
        except BaseException:
            os.close(tree)
            raise
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        hint = "it takes Linux 5.12" if error.errno == errno.ENOSYS else None
        raise HostError(f"mounting {step.source} (bind) on {step.destination}: {reason(error)}", hint) from error
    return tree


def close(trees: dict[int, int]) -> None:
    """Close them all: init has its own."""
    while trees:
        os.close(trees.popitem()[1])


def attach(place: rootfs.ResolvedPath, tree: int) -> None:
    """Attach a tree on a resolved place."""
    target = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.parent)
    try:
        libc_mounts.move_mount(tree, target)
    finally:
        os.close(target)
