"""The root of a Linux container: made a mount, entered, and cut from other mounts.

Mount events travel between the mounts of a peer group, also between mount namespaces. What happens here must never
travel to the host: not the root's mounts when they are made, and not the end of the host's mounts in our namespace.
"""

from __future__ import annotations

import os

from runjail.host.linux import libc

PROPAGATION = {
    "private": libc.MS_PRIVATE,
    "slave": libc.MS_SLAVE,
    "shared": libc.MS_SHARED,
    "unbindable": libc.MS_UNBINDABLE,
}


def propagate(target: str, word: str) -> None:
    """Set the propagation of one mount, or with a leading r (rslave) also of all below it."""
    kind = word.removeprefix("r")
    libc.mount(None, target, None, PROPAGATION[kind] | (libc.MS_REC if kind != word else 0))


def bind(root: str, propagation: str) -> None:
    """Make the directory `root` a mount; for a process that just got a mount namespace of its own.

    propagation: linux.rootfsPropagation. With a shared root the host's mounts stay peers of ours, so that a volume may
    be asked to be shared with the host (`rshared`); any other cuts the way from here to the host at once, as runc does
    by default. The root itself and what is mounted below it get no peers outside either way.
    """
    kind = propagation.removeprefix("r")
    if kind != "shared":
        propagate("/", "rprivate" if propagation == "rprivate" else "rslave")
    if kind != "slave":
        _make_parent_private(root)
    libc.mount(root, root, None, libc.MS_BIND | libc.MS_REC)
    if kind == "shared":
        propagate(root, "rprivate")


def _make_parent_private(root: str) -> None:
    """Make the mount that holds the root private: pivot_root(2) refuses one that is shared."""
    path = root
    while path != "/":
        try:
            propagate(path, "private")
            return
        except OSError:  # not a mount point
            path = os.path.dirname(path)
    propagate("/", "private")


def enter(root: str, propagation: str) -> None:
    """Make `root` the root of this mount namespace, forget the old one, and set the propagation that was asked for.

    Private and slave roots have been so since `bind`: setting them again would undo what single mounts were given.
    """
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(root)
    libc.pivot_root(".", ".")
    os.fchdir(old)
    os.close(old)
    propagate(".", "rslave")  # or the end of every mount below would travel to the host's own
    libc.umount(".", libc.MNT_DETACH)
    os.chdir("/")
    if propagation.removeprefix("r") in ("shared", "unbindable"):
        propagate("/", propagation)
