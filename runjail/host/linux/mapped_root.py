"""A root file system whose files have a user namespace's ids.

containerd's snapshotters ask for that with the mount options `uidmap=` and `gidmap=`.

The layers of an overlay are lent (mount_setattr(2), MOUNT_ATTR_IDMAP; overlayfs takes such layers since Linux 5.19),
what is written over them is not; any other mount is lent as a whole.
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.host.linux import libc, libc_mounts, mapped_ids
from runjail.spec.model import IdMappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runjail.spec.model import IdRange

LOWER, KINDS = "lowerdir=", ("uidmap=", "gidmap=")
MS_PRIVATE = 1 << 18


def mount(fstype: str, options: Sequence[str], root: str, plainly: Callable[[list[str]], None]) -> None:
    """Mount a root file system whose files have other ids than on the disk.

    plainly: mounts it on root with the options that it is given. When this fails, what is mounted on root has to be
    unmounted. Raises HostError and OSError.
    """
    namespace = mapped_ids.namespace(_ids(options))
    left = [word for word in options if not word.startswith(KINDS)]
    try:
        if fstype == "overlay":
            plainly(_lend_layers(left, root, namespace))
            _replace(libc_mounts.open_tree(root), root, 2)
        else:
            plainly(left)
            _replace(_lent(root, namespace), root, 1)
    finally:
        os.close(namespace)


def _ids(options: Sequence[str]) -> IdMappings:
    """Return the ids, each kind `INSIDE:OUTSIDE:NUMBER[,...]`. Raises HostError."""
    found = []
    for kind in KINDS:
        text = "".join(word.removeprefix(kind) for word in options if word.startswith(kind))
        try:
            found.append(tuple(_range(part) for part in text.split(",")))
        except ValueError:
            raise HostError(f"mount option {kind}{text}: not INSIDE:OUTSIDE:NUMBER") from None
    return IdMappings(*found)


def _range(text: str) -> IdRange:
    inside, outside, number = text.split(":")
    if not (inside + outside + number).isascii() or not (inside.isdigit() and outside.isdigit() and number.isdigit()):
        raise ValueError(text)
    return int(inside), int(outside), int(number)


def _lend_layers(options: list[str], root: str, namespace: int) -> list[str]:
    """Mount the directory that has all layers on root, lent and read-only; return options that name them there."""
    lower = next((word for word in options if word.startswith(LOWER)), "")
    if not lower:
        raise HostError("mounting an overlay with ids of a user namespace: it has no lowerdir")
    layers = lower.removeprefix(LOWER).split(":")
    common = os.path.commonpath(layers)
    _attach(_lent(common, namespace, libc_mounts.MOUNT_ATTR_RDONLY), root)
    there = (os.path.normpath(f"{root}/{os.path.relpath(layer, common)}") for layer in layers)
    return [f"{LOWER}{':'.join(there)}" if word == lower else word for word in options]


def _lent(directory: str, namespace: int, attributes: int = 0) -> int:
    """Return a descriptor of another mount of a directory and of what is mounted below it, with a namespace's ids."""
    tree = libc_mounts.open_tree(directory, recursive=True)
    try:
        lent = attributes | libc_mounts.MOUNT_ATTR_IDMAP
        libc_mounts.mount_setattr(tree, lent, MS_PRIVATE, recursive=True, namespace=namespace)
    except OSError as error:
        os.close(tree)
        raise HostError(
            f"giving {directory} the ids of a user namespace: {reason(error)}",
            "the file system has to support idmapped mounts: ext4, xfs, btrfs, and overlay below Linux 5.19 does not",
        ) from error
    return tree


def _replace(tree: int, root: str, mounts: int) -> None:
    """Have a tree on root instead of the mounts that are there, one on the other."""
    try:
        for _ in range(mounts):
            libc.umount(root, libc.MNT_DETACH)
    except OSError:
        os.close(tree)
        raise
    _attach(tree, root)


def _attach(tree: int, root: str) -> None:
    try:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc_mounts.move_mount(tree, directory)
        finally:
            os.close(directory)
    finally:
        os.close(tree)
