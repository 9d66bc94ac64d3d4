"""What is opened and loaded before a process enters a user namespace, where the host is out of reach.

The source of a bind mount may be in a directory of root's. It is opened as a mount that is at no place yet, and init
attaches it (open_tree(2), move_mount(2), as runc has it since 1.2). Such a mount can be given ids of its own.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host import reaper
from runjail.host.linux import join, libc, libc_mounts, mapped_ids, proc, rights
from runjail.host.linux import reaper as our_reaper
from runjail.steps import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runjail.spec.model import IdMappings
    from runjail.steps import Step

# What is imported elsewhere only where it is used: for pods, errors and createContainer hooks
LOADED = (proc, rights, reaper, our_reaper)


def load(performers: Sequence[str]) -> None:
    """Import what performs steps inside, modules of ours: Python's may lie where only the host's root reads them."""
    for module in performers:
        __import__(f"runjail.host.linux.{module}")


def open_trees(steps: Sequence[Step], propagation: str) -> dict[int, int]:
    """Open the sources of all bind mounts. Returns descriptors by the id() of their steps. Raises HostError.

    propagation: linux.rootfsPropagation. None for who may not: what it can read it can mount later as well.
    """
    trees: dict[int, int] = {}
    namespaces: dict[IdMappings | str, int] = {}  # by the ids that mounts share, or the path
    kind = libc.MS_PRIVATE if propagation == "rprivate" else libc.MS_SLAVE  # no mount from inside reaches the host
    try:
        for step in steps:
            if isinstance(step, Mount) and step.fstype == "bind":
                tree = trees[id(step)] = _open(step, kind)
                if step.mappings:
                    if step.mappings not in namespaces:
                        namespaces[step.mappings] = _namespace(step.mappings)
                    _map(tree, step, namespaces[step.mappings])
    except PermissionError:
        close(trees)
        if any(isinstance(step, Mount) and step.mappings for step in steps):
            raise HostError("mounts with ids of their own: not allowed", "only the host's root can make them") from None
    except BaseException:
        close(trees)
        raise
    finally:
        close(namespaces)
    return trees


def _namespace(ids: IdMappings | str) -> int:
    return join.open_one(ids, "user") if isinstance(ids, str) else mapped_ids.namespace(ids)


def _map(tree: int, step: Mount, namespace: int) -> None:
    doing = f"{step.told()}mounting {step.source} (bind) on {step.destination} with ids of its own"
    remedy = "idmapped mounts take Linux 5.12 and a file system that has them: ext4, xfs, btrfs; tmpfs since 6.3"
    wanted = (tree, libc_mounts.MOUNT_ATTR_IDMAP, 0, step.mapped_below, 0, namespace)
    rights.ask(doing, "mount_setattr(2)", libc_mounts.mount_setattr, *wanted, remedy=remedy)


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
        told = step.told("source" if error.errno == errno.ENOENT else "")
        what = f"mounting {step.source} (bind) on {step.destination}"
        raise HostError(f"{told}{what}: {reason(error)}", hint) from error
    return tree


def close(trees: dict[Any, int]) -> None:
    """Close them all: init has its own."""
    while trees:
        os.close(trees.popitem()[1])
