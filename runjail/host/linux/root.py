"""The root of a Linux container: made a mount, entered, and cut from other mounts.

Mount events travel between the mounts of a peer group, also between mount namespaces. What happens here must never
travel to the host: not the root's mounts when they are made, and not the end of the host's mounts in our namespace.

We may have been started after chroot(2), as on a build machine: then / is not the root of our mount namespace.
"""

from __future__ import annotations

import errno
import os

from runjail.errors import HostError, reason
from runjail.host.linux import join, libc, rights

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
        propagate_all("rprivate" if propagation == "rprivate" else "rslave")
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
    propagate_all("private")


def propagate_all(word: str) -> None:
    """Set the propagation of the mount at /, with a leading r of all below it.

    Where chroot(2) has made a directory / that is no mount point, that of every mount there is.
    """
    try:
        propagate("/", word)
        return
    except OSError as error:
        if error.errno != errno.EINVAL:  # mount(2): no mount point
            raise
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    to_top()
    propagate("/", "r" + word.removeprefix("r"))
    os.fchdir(here)
    os.chroot(".")
    os.close(here)


def to_top() -> None:
    """Stand at the root of our mount namespace; in it setns(2) puts everybody who joins.

    Below what chroot(2) leads to, pivot_root(2) would change / for ourselves alone: who joins would be outside of the
    container, and so would a process of it that joins what it is in already. Raises HostError.
    """
    own = join.open_one("/proc/self/ns/mnt", "mount")
    try:
        libc.setns(own, libc.CLONE_NEWNS)
    except OSError as error:
        doing = "going to the root of the mount namespace: setns(2)"
        raise HostError(f"{doing}: {reason(error)}", rights.hint(error, "CAP_SYS_CHROOT")) from error
    finally:
        os.close(own)


def enter(root: str, propagation: str) -> None:
    """Make `root` the root of this mount namespace, forget the old one, and set the propagation that was asked for.

    Private and slave roots have been so since `bind`: setting them again would undo what single mounts were given.
    """
    switch(root)
    if propagation.removeprefix("r") in ("shared", "unbindable"):
        propagate("/", propagation)


def switch(root: str) -> None:
    """Make a mount the root of this mount namespace, and take everything else out of it."""
    new = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    to_top()
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(new)
    os.close(new)
    libc.pivot_root(".", ".")
    os.fchdir(old)
    os.close(old)
    propagate(".", "rslave")  # or the end of every mount below would travel to the host's own
    libc.umount(".", libc.MNT_DETACH)
    os.chdir("/")
